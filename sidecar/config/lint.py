"""What a careful reviewer would say of a policy that compiles: warnings."""

from collections import defaultdict
from collections.abc import Iterator

from sidecar.config.findings import Place, Problem, Severity, quoted
from sidecar.config.policy_file import ROUTES
from sidecar.core.route import Route, hosts_of, methods_of
from sidecar.core.routes import Pattern, Policy, parse_pattern


def problems(policy: Policy) -> Iterator[Problem]:
    """Every warning about a policy's routes."""
    patterns = [(route, parse_pattern(route.path)) for route in policy.routes]
    yield from _public_over_protected(patterns)
    yield from _public_elsewhere(patterns)


class _Node:
    """A prefix of public wildcards' paths; ``routes`` are those whose wildcard begins here."""

    __slots__ = ("literals", "one", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.one: _Node | None = None
        self.routes: list[Route] = []


def _public_over_protected(patterns: list[tuple[Route, Pattern]]) -> Iterator[Problem]:
    root = _Node()
    for route, pattern in patterns:
        if route.public and pattern.tail:
            node = root
            for segment in pattern.segments:
                if segment is None:
                    node.one = node.one or _Node()
                    node = node.one
                else:
                    node = node.literals.setdefault(segment, _Node())
            node.routes.append(route)
    over: dict[int, list[Route]] = defaultdict(list)
    for route, pattern in patterns:
        if not route.public:
            for public in _covering(root, pattern):
                if _meet(public, route):
                    over[public.index].append(route)
    for public, _ in patterns:
        if covered := over.get(public.index):
            first = covered[0]
            more = f" and {len(covered) - 1} more" if len(covered) > 1 else ""
            yield _warning(
                public,
                "public-over-protected",
                f"this public wildcard lies over the protected {quoted(first.path)}{more}",
                "what is mistyped there or added later is public; name what is public instead",
                first,
            )


def _covering(root: _Node, pattern: Pattern) -> Iterator[Route]:
    """Yield the public wildcards that match whatever ``pattern`` matches."""
    nodes = [root]
    for segment in pattern.segments:
        for node in nodes:
            yield from node.routes
        nodes = [
            below
            for node in nodes
            for below in (node.one, None if segment is None else node.literals.get(segment))
            if below is not None
        ]
    if pattern.tail:
        for node in nodes:
            yield from node.routes


def _meet(one: Route, other: Route) -> bool:
    hosts, methods = (hosts_of(one), hosts_of(other)), (methods_of(one), methods_of(other))
    return all(not a or not b or a & b for a, b in (hosts, methods))


def _public_elsewhere(patterns: list[tuple[Route, Pattern]]) -> Iterator[Problem]:
    """Warn of a protected path whose public twin differs in host or case alone."""
    twins: dict[tuple[object, bool], list[tuple[Route, Pattern]]] = defaultdict(list)
    for route, pattern in patterns:
        folded = tuple(segment and segment.casefold() for segment in pattern.segments)
        twins[folded, pattern.tail].append((route, pattern))
    for group in twins.values():
        public = [(route, pattern) for route, pattern in group if route.public]
        for route, pattern in group:
            for twin, same in public:
                methods = methods_of(route), methods_of(twin)
                if route.public or (all(methods) and not methods[0] & methods[1]):
                    continue
                where = (
                    "on another host" if pattern.segments == same.segments else "in another case"
                )
                yield _warning(
                    route,
                    "public-elsewhere",
                    f"this path is protected here and public {where}",
                    "an upstream that does not tell them apart serves it to everybody",
                    twin,
                )
                break


def _warning(route: Route, code: str, message: str, hint: str, other: Route) -> Problem:
    place: Place = (*ROUTES, route.index, "path")
    return Problem(place, code, message, hint, Severity.WARNING, (*ROUTES, other.index))

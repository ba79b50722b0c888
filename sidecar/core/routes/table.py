"""The route table: which route a request matches, at a cost that does not grow with the table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal

from sidecar.core.paths.canonical import Path
from sidecar.core.paths.escapes import KEPT
from sidecar.core.paths.fold import fold
from sidecar.core.paths.upstreams import GENERIC, UPSTREAMS, Upstream
from sidecar.core.routes.conditions import Steps
from sidecar.core.routes.neighbours import Neighbours
from sidecar.core.routes.nodes import Node, insert, place_of
from sidecar.core.routes.patterns import Pattern, default_name, parse_pattern
from sidecar.core.routes.problems import (
    check_names,
    check_owner,
    check_rivals,
    check_route,
    check_unordered,
)
from sidecar.core.routes.route import (
    NotAllowed,
    Route,
    RouteProblem,
    hosts_of,
    is_spelt_otherwise,
    is_wide,
    normalise_host,
)
from sidecar.core.routes.segments import Mixed, Segment

__all__ = [
    "MAX_STEPS",
    "NotAllowed",
    "Pattern",
    "Policy",
    "PolicyError",
    "PreflightMode",
    "Route",
    "RouteProblem",
    "compile_policy",
    "default_name",
    "normalise_host",
    "parse_pattern",
]

PreflightMode = Literal["answer", "forward", "off"]
"""Who answers a preflight: the sidecar or the upstream; ``off``: it is an ordinary request."""

MAX_STEPS = 512
"""Nodes that looking up one path may visit: some 50 microseconds. Real tables need a few dozen."""


class PolicyError(Exception):
    """The table is invalid; ``problems`` has every problem."""

    def __init__(self, problems: tuple[RouteProblem, ...]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Policy:
    """The compiled route table, and the settings of all routes.

    ``digest`` names the table's content. ``encoded`` are keys of ``KEPT``; ``accepted`` is what it
    and ``allow_paths`` let ``paths.canonicalise`` accept. ``claims`` are those that requirements
    read; ``names_callers`` says that some route depends on the peer's certificate.
    ``upstream`` is a key of ``UPSTREAMS``; ``neighbours`` is None where no other reading of a path
    can match another route. ``names_hosts`` says whether any route is for certain hosts.
    ``read_alike`` has the indexes of the routes whose ``plain`` paths every upstream reads alike.
    """

    digest: str
    routes: tuple[Route, ...]
    cors_preflight: PreflightMode
    ignore_case: bool
    allow_paths: frozenset[str]
    encoded: frozenset[str]
    accepted: frozenset[str]
    claims: tuple[Steps, ...]
    names_callers: bool
    upstream: str
    neighbours: Neighbours | None = field(repr=False)
    _root: Node = field(repr=False)
    _everything: Node | None = field(repr=False)
    names_hosts: bool
    _hosts: frozenset[str] = field(repr=False)
    _below: tuple[tuple[str, str], ...] = field(repr=False)
    read_alike: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find what ``is_read_otherwise`` need not be asked about."""
        alike = frozenset(route.index for route in self.routes)
        if self.neighbours is not None:
            alike = self.neighbours.unconcerned(alike)
        object.__setattr__(self, "read_alike", frozenset() if self.names_hosts else alike)

    def match(self, host: str, method: str, segments: tuple[str, ...]) -> Route | NotAllowed | None:
        """Return the route of the most specific path, None where no path matches.

        ``host`` is the request's own, unchanged: an invalid one matches nothing where any route
        names hosts. ``segments`` are one reading of the path.
        """
        if self.names_hosts and host not in self._hosts:
            name = normalise_host(host)
            if name is None:
                return None
            host = name
        if self.ignore_case:
            segments = tuple([fold(segment) for segment in segments])
        end = len(segments)
        depth = 0
        node = self._root
        # The wider paths to return to, the narrowest last.
        wider = [(self._everything, end)] if self._everything else []
        while True:
            while depth < end:
                segment = segments[depth]
                literal = node.literals.get(segment)
                depth += 1
                if not node.branches:
                    if literal is None:
                        break
                    node = literal
                    continue
                if node.tail is not None:
                    wider.append((node.tail, end))
                if node.mixed is not None and (mixed := node.mixed.matching(segment)):
                    if node.one is not None:
                        wider.append((node.one, depth))
                    wider += [(below, depth) for _, below in mixed]
                    node = literal or wider.pop()[0]
                elif literal is not None:
                    if node.one is not None:
                        wider.append((node.one, depth))
                    node = literal
                elif node.one is not None:
                    node = node.one
                else:
                    break
            else:
                place = node.here
                if place is not None:
                    group = place.by_host.get(host) or (
                        place.group(host) if place.lengths else place.any_host
                    )
                    if group is not None:
                        return group.by_method.get(method) or group.otherwise
            if not wider:
                return None
            node, depth = wider.pop()

    def is_read_otherwise(self, path: Path, host: str, routes: Sequence[Route]) -> bool:
        """Say whether some upstream may match a request to another route: for most it does not.

        ``routes`` are those of the path's readings.
        """
        if self.neighbours is not None and self.neighbours.concern(path, routes):
            return True
        return self.names_hosts and len(self._hosts_of(host)) > 1

    def reached(
        self, path: Path, host: str, method: str
    ) -> Iterator[tuple[tuple[str, ...], Route | NotAllowed]]:
        """Yield the routes that some upstream matches a request to, with the segments that it sees.

        The canonical routes may be among them. Raises PathError where finding them takes more work
        than a request may cause.
        """
        for name in self._hosts_of(host):
            if self.neighbours is not None:
                yield from self.neighbours.reached(path, name, method)
                continue
            for segments in path.readings:
                found = self.match(name, method, segments)
                if found is not None:
                    yield segments, found

    def _hosts_of(self, host: str) -> tuple[str, ...]:
        """Return the hosts that upstreams may read, ours first; empty: a host without routes.

        Go's ServeMux distinguishes case and a dot at the end, Werkzeug the dot.
        """
        if not self.names_hosts or host in self._hosts:
            return (host,)
        name = normalise_host(host) or ""
        if is_spelt_otherwise(host, name):
            # An upstream that ignores case only in suffixes takes it for another name below one.
            wide = [other for suffix, other in self._below if name.endswith(suffix)]
            if wide or name in self._hosts:
                return name, *wide, ""
        return (name,)

    def seen_by(self, upstream: Upstream) -> "Policy":
        """Return the same table before another upstream than ``upstream`` names."""
        neighbours = self.neighbours and self.neighbours.seen_by(upstream)
        return replace(self, neighbours=neighbours)


def compile_policy(
    routes: Sequence[Route],
    *,
    digest: str,
    cors_preflight: PreflightMode = "answer",
    ignore_case: bool = False,
    allow_paths: frozenset[str] = frozenset(),
    encoded: frozenset[str] = frozenset(),
    upstream: str = GENERIC,
) -> Policy:
    """Compile a table. ``upstream`` is a key of ``UPSTREAMS``, ``encoded`` has keys of ``KEPT``.

    Raises PolicyError, with every problem, for a table that has any.
    """
    problems: list[RouteProblem] = []
    written: list[tuple[Route, Pattern]] = []
    for route in routes:
        problems += check_route(route)
        try:
            pattern = parse_pattern(route.path)
        except ValueError as error:
            problems.append(RouteProblem(route.index, "path", str(error)))
            continue
        problems += check_owner(route, pattern)
        written.append((_with_captures(route, pattern), pattern))
    patterns = [(r, pattern.folded()) for r, pattern in written] if ignore_case else written
    problems += check_names(routes)
    root = Node()
    everything = None
    places: dict[tuple[tuple[Segment, ...], bool], list[Route]] = {}
    for route, pattern in patterns:
        places.setdefault(pattern[:2], []).append(route)
    for (segments, tail), rivals in places.items():
        problems += check_rivals(rivals)
        if tail and not segments:
            everything = Node()
            everything.here = place_of(rivals)
        else:
            insert(root, segments, tail).here = place_of(rivals)
    problems += check_unordered(patterns)
    if (steps := root.steps()) > MAX_STEPS:
        problems.append(_too_many_steps(patterns, steps))
    if problems:
        raise PolicyError(tuple(sorted(problems, key=lambda problem: problem.route)))
    neighbours = None
    if any(pattern.takes_many for _, pattern in written):
        neighbours = Neighbours(
            root, everything, written, UPSTREAMS[upstream], ignore_case=ignore_case
        )
    hosts = frozenset().union(*map(hosts_of, routes))
    suffixes = sorted((host[1:] for host in hosts if is_wide(host)), key=len, reverse=True)
    return Policy(
        digest=digest,
        routes=tuple(route for route, _ in written),
        cors_preflight=cors_preflight,
        ignore_case=ignore_case,
        allow_paths=allow_paths,
        encoded=encoded,
        claims=tuple(sorted({claim for route in routes for claim in _claims_of(route)})),
        names_callers=any(route.callers for route in routes),
        accepted=allow_paths | {KEPT[name] for name in encoded},
        upstream=upstream,
        neighbours=neighbours,
        _root=root,
        _everything=everything,
        names_hosts=bool(hosts),
        _hosts=frozenset(host for host in hosts if not is_wide(host)),
        _below=tuple((suffix, _unnamed(suffix, hosts)) for suffix in suffixes),
    )


def _claims_of(route: Route) -> Iterator[Steps]:
    """Yield the claims that a route's requirements read."""
    yield from (each.claim for each in route.claims)
    if route.owner_claim:
        yield route.owner_claim


def _unnamed(suffix: str, hosts: frozenset[str]) -> str:
    """Return a host with this suffix that no route names."""
    return next(host for n in count(1) if (host := "_" * n + suffix) not in hosts)


def _with_captures(route: Route, pattern: Pattern) -> Route:
    """Return the route with the literals around what its requirements read in the path."""
    read = {route.owner, *(index for each in route.claims for index in each.segments)}
    mixed = tuple(
        (index, segment)
        for index, segment in enumerate(pattern.segments)
        if index in read and isinstance(segment, Mixed)
    )
    return replace(route, mixed=mixed) if mixed else route


def _too_many_steps(patterns: Sequence[tuple[Route, Pattern]], steps: int) -> RouteProblem:
    widest, _ = max(
        patterns, key=lambda pair: sum(not isinstance(s, str) for s in pair[1].segments)
    )
    return RouteProblem(
        widest.index,
        "path",
        f"the table's wildcards make looking up one path take up to {steps} steps, "
        f"more than {MAX_STEPS}",
        "write literals where paths branch, instead of {name} and *",
    )

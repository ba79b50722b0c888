"""Findings about paths that upstreams read in several ways: only ``check`` reports them.

None of them is an error, since the strictest reading counts. They show where that matters.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from sidecar.config.policy_file import ROUTES
from sidecar.core.paths.canonical import Path, canonicalise
from sidecar.core.paths.upstreams import GENERIC, UPSTREAMS, Upstream
from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.core.routes.route import Route, example_hosts, hosts_of, methods_of, shared_hosts
from sidecar.core.routes.segments import Mixed, Segment
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import Problem, info, quoted, warning
from sidecar.review.strictness import is_as_strict

MAX_PROBES = 20_000
"""Paths that are tried to find what a profile leaves open: this takes a second or two."""

_FRESH = "zzz-any"  # a segment that is not a literal

READERS: Mapping[str, str] = {
    "ignores_case": "that ignores case",
    "compares_encoded": "that compares before it decodes",
    "suffixes": "that accepts a format after a dot",
    "ignores_slash": "that ignores a trailing slash",
    "keeps_slash": "that distinguishes a trailing slash",
    "empty_captures": "whose {name} may be empty",
    "slashed_captures": "whose {name} may end in a slash",
    "empty_tails": "whose trailing * may be empty",
    "dots_end_captures": "whose {name} cannot contain a dot",
    "empty_parts": "whose {name} between literals may be empty",
    "literals_end_captures": "whose {name} cannot contain the character after it",
    "front_controller": "that drops index.php",
}
"""For each field of ``Upstream``, a description of an upstream that has it."""


def problems(policy: Policy) -> Iterator[Problem]:
    """Yield where it matters that an upstream reads a path differently."""
    patterns = [parse_pattern(route.path) for route in policy.routes]
    yield from _weaker_over_stricter(policy, patterns)
    if UPSTREAMS[policy.upstream].ignores_case and not policy.ignore_case:
        yield from _weaker_in_other_case(policy, patterns)
    if UPSTREAMS[policy.upstream].keeps_slash:
        yield from _differ_by_slash(policy, patterns)
    if policy.upstream != GENERIC:
        yield from _left_open(policy, patterns)


def _request(route: Route) -> tuple[str, str]:
    """Return a host and a method that a route matches."""
    return example_hosts(hosts_of(route))[0], min(methods_of(route), default="GET")


def _weaker_over_stricter(policy: Policy, patterns: list[Pattern]) -> Iterator[Problem]:
    """Yield each wildcard that matches paths not recognised as a stricter route."""
    over: dict[int, list[Route]] = defaultdict(list)
    for route, pattern in zip(policy.routes, patterns, strict=True):
        host, method = _request(route)
        fixed = pattern.example(_FRESH)
        rest = [_FRESH] if pattern.tail else []
        for index, literal in enumerate(pattern.segments):
            if literal is None:
                continue
            probe = (*fixed[:index], _FRESH, *fixed[index + 1 :], *rest)
            found = policy.match(host, method, probe)
            # Public ones with a trailing * are public-over-protected, which each start reports.
            if isinstance(found, Route) and not is_as_strict(found, route):
                reported = found.public and patterns[found.index].tail
                if not reported and route not in over[found.index]:
                    over[found.index].append(route)
    for index, routes in sorted(over.items()):
        if routes:
            yield info(
                (*ROUTES, policy.routes[index].index, "path"),
                "weaker-over-stricter",
                f"this wildcard requires less than {_named(routes)} below it",
                "a path that is not recognised as that route matches this one; "
                "require the same here if that does harm",
                (*ROUTES, routes[0].index),
            )


def _weaker_in_other_case(policy: Policy, patterns: list[Pattern]) -> Iterator[Problem]:
    """Yield each route that requires less than one with the same path in another letter case."""
    spelt: dict[tuple[Segment, ...], list[Route]] = defaultdict(list)
    for route, pattern in zip(policy.routes, patterns, strict=True):
        if not pattern.tail:
            spelt[pattern.folded().segments].append(route)
    for routes in spelt.values():
        for route in routes:
            for other in routes:
                same = patterns[other.index].segments == patterns[route.index].segments
                # Public ones are public-elsewhere, which each start reports.
                if not same and not route.public and not is_as_strict(route, other):
                    yield warning(
                        (*ROUTES, route.index, "path"),
                        "weaker-in-other-case",
                        f"this route requires less than {quoted(other.path)}",
                        "an upstream that ignores case treats both as the same path",
                        (*ROUTES, other.index),
                    )
                    break


def _differ_by_slash(policy: Policy, patterns: list[Pattern]) -> Iterator[Problem]:
    """Yield each ``/x/*`` whose requirements differ from those of ``/x``."""
    ends = defaultdict(list)
    for route, pattern in zip(policy.routes, patterns, strict=True):
        if not pattern.tail:
            ends[pattern.segments].append(route)
    for route, pattern in zip(policy.routes, patterns, strict=True):
        if not pattern.tail or not pattern.segments:
            continue
        for end in ends[pattern.segments]:
            if shared_hosts(route, end) is None:
                continue
            if not (is_as_strict(route, end) and is_as_strict(end, route)) and _serve_slash(
                policy, end, route
            ):
                path = end.path.removesuffix("/")
                remedy = "require the same in both, or give it a route of its own"
                if policy.upstream == GENERIC:
                    remedy += ", or set `policy.upstream`"
                yield info(
                    (*ROUTES, route.index, "path"),
                    "slash-differs",
                    f"{quoted(path + '/')} must satisfy both this route and {quoted(path)}",
                    f"upstreams differ in which route serves it; {remedy}",
                    (*ROUTES, end.index),
                )
                break


def _serve_slash(policy: Policy, end: Route, tail: Route) -> bool:
    """Return whether both routes count for the path of ``end`` with a slash after it."""
    fixed = [quote(text, safe="@:") for text in parse_pattern(end.path).example(_FRESH)]
    path = canonicalise(_target([*fixed, ""]), raw_headers=True)
    host, method = _request(end)
    found = policy.match(host, method, path.readings[0])
    return isinstance(found, Route) and tail in _all(policy, path, found, host, method)


def _left_open(policy: Policy, patterns: list[Pattern]) -> Iterator[Problem]:
    """Yield, once for each reading that the profile excludes, a path that it would protect."""
    generic = policy.seen_by(UPSTREAMS[GENERIC])
    reported: set[str] = set()
    tried = 0
    for route, pattern in zip(policy.routes, patterns, strict=True):
        host, method = _request(route)
        for reading, target in _spellings(UPSTREAMS[policy.upstream], pattern):
            tried += 1
            if tried > MAX_PROBES:
                return
            path = canonicalise(target, raw_headers=True)
            own = policy.match(host, method, path.readings[0])
            if reading in reported or not isinstance(own, Route):
                continue
            stricter = _stricter(generic, path, own, host, method)
            if stricter and stricter not in _all(policy, path, own, host, method):
                reported.add(reading)
                shown = target.decode().replace(_FRESH, "…")
                yield info(
                    (*ROUTES, stricter.index, "path"),
                    "upstream-leaves-open",
                    f"{quoted(shown)} requires only what {quoted(own.path)} requires",
                    f"an upstream {READERS[reading]} serves it as this route; "
                    f"`upstream: {policy.upstream}` declares that yours does not",
                    (*ROUTES, own.index),
                )


def _stricter(policy: Policy, path: Path, own: Route, host: str, method: str) -> Route | None:
    for found in _all(policy, path, own, host, method):
        if not is_as_strict(own, found):
            return found
    return None


def _all(policy: Policy, path: Path, own: Route, host: str, method: str) -> list[Route]:
    if not policy.is_read_otherwise(path, host, [own]):
        return []
    reached = policy.reached(path, host, method)
    return [found for _, found in reached if isinstance(found, Route)]


def _spellings(upstream: Upstream, pattern: Pattern) -> Iterator[tuple[str, bytes]]:
    """Yield a spelling of a path for each reading that the upstream does not have."""
    fixed = [quote(segment, safe="@:") for segment in pattern.example(_FRESH)]
    rest = [_FRESH] if pattern.tail else []
    if not fixed:
        return
    if not upstream.keeps_slash:
        yield "keeps_slash", _target([*fixed, ""])
    if pattern.tail and not upstream.empty_tails:
        yield "empty_tails", _target(fixed)
    if not upstream.front_controller:
        yield "front_controller", _target(["index.php", *fixed, *rest])
    if pattern.segments[-1] and not pattern.tail and upstream.suffixes == frozenset():
        yield "suffixes", _target([*fixed[:-1], f"{fixed[-1]}.json"])
    for index, written in enumerate(pattern.segments):
        if isinstance(written, Mixed):
            spelt = _spellings_of_mixed(upstream, written)
        elif written and fixed[index].isalnum():
            spelt = _spellings_of_literal(upstream, written)
        else:
            continue
        for reading, text in spelt:
            yield reading, _target([*fixed[:index], text, *fixed[index + 1 :], *rest])


def _spellings_of_literal(upstream: Upstream, literal: str) -> Iterator[tuple[str, str]]:
    if not upstream.ignores_case:
        yield "ignores_case", literal.swapcase()
    if not upstream.compares_encoded:
        yield "compares_encoded", f"%{ord(literal[0]):02x}{literal[1:]}"


def _spellings_of_mixed(upstream: Upstream, mixed: Mixed) -> Iterator[tuple[str, str]]:
    prefix, suffix = (quote(text, safe="@:") for text in mixed)
    if not upstream.ignores_case and "%" not in prefix + suffix:
        yield "ignores_case", f"{prefix.swapcase()}{_FRESH}{suffix.swapcase()}"
    if not upstream.compares_encoded and suffix and mixed.suffix[0].isascii():
        first = f"%{ord(mixed.suffix[0]):02x}"
        yield "compares_encoded", f"{prefix}{_FRESH}{first}{quote(mixed.suffix[1:])}"
    if not upstream.empty_parts and prefix + suffix not in (".", ".."):
        yield "empty_parts", prefix + suffix
    if not upstream.literals_end_captures and suffix:
        first = quote(mixed.suffix[0], safe="@:")
        yield "literals_end_captures", f"{prefix}{_FRESH}{first}{_FRESH}{suffix}"


def _target(segments: list[str]) -> bytes:
    return "".join(f"/{segment}" for segment in segments).encode()


def _named(routes: list[Route]) -> str:
    more = f" and {len(routes) - 1} more" if len(routes) > 1 else ""
    return quoted(routes[0].path) + more

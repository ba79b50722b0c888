"""Routes that lie over each other: which wins, and which can never win."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from sidecar.config.findings import Place, Problem, Severity, quoted
from sidecar.config.policy_file import ROUTES
from sidecar.core.patterns import Pattern, parse_pattern
from sidecar.core.route import NotAllowed, Route, hosts_of, methods_of
from sidecar.core.routes import Policy

MAX_PAIRS = 200_000  # routes compared with each other: some two seconds; real tables have hundreds
NAMED = 3  # overlapping routes that a message names

_FRESH = "\x00"  # stands for any segment that no literal is: no path holds a NUL
_FRESH_HOST = "host.invalid"  # and for any host that no route names (RFC 2606)


class _Read(NamedTuple):
    route: Route
    pattern: Pattern


class _Node:
    """A prefix of paths; ``ends`` are those that end here, ``tails`` those whose * begins here."""

    __slots__ = ("below", "ends", "tails")

    def __init__(self) -> None:
        self.below: dict[str | None, _Node] = {}
        self.ends: list[_Read] = []
        self.tails: list[_Read] = []


def problems(policy: Policy) -> Iterator[Problem]:
    """Yield routes that can never match, and those that more specific ones take requests from."""
    reads = [_read(route, policy.ignore_case) for route in policy.routes]
    root = _Node()
    for read in reads:
        node = root
        for segment in read.pattern.segments:
            node = node.below.setdefault(segment, _Node())
        (node.tails if read.pattern.tail else node.ends).append(read)
    longest = max((len(read.pattern.segments) for read in reads), default=0)
    pairs = 0
    for read in reads:
        if not _ever_wins(policy, read, longest):
            yield _never(read.route)
            continue
        winners = []
        for other in _touching(root, read.pattern):
            pairs += 1
            if pairs > MAX_PAIRS:
                return
            if other.route is not read.route and _wins_over(policy, other, read):
                winners.append(other.route)
        if winners:
            yield _overlap(read.route, winners)


def _read(route: Route, ignore_case: bool) -> _Read:
    pattern = parse_pattern(route.path)
    if ignore_case:
        folded = tuple(segment and segment.casefold() for segment in pattern.segments)
        pattern = pattern._replace(segments=folded)
    return _Read(route, pattern)


def _ever_wins(policy: Policy, read: _Read, longest: int) -> bool:
    """Say whether the route wins some request: of those that no literal of another route fits."""
    fixed = tuple(_FRESH if segment is None else segment for segment in read.pattern.segments)
    least = 1 if read.pattern.tail and fixed else 0  # `/*` matches `/` too
    most = longest - len(fixed) + 2 if read.pattern.tail else 1
    for host in sorted(hosts_of(read.route)) or [_FRESH_HOST]:
        for method in sorted(methods_of(read.route)) or [_FRESH]:
            for more in range(least, max(least + 1, most)):
                if policy.match(host, method, fixed + (_FRESH,) * more) is read.route:
                    return True
    return False


def _touching(root: _Node, pattern: Pattern) -> Iterator[_Read]:
    """Yield the routes whose paths match something that ``pattern`` matches too."""
    nodes = [root]
    for segment in pattern.segments:
        for node in nodes:
            yield from node.tails
        nodes = [
            below
            for node in nodes
            for key, below in _fitting(node, segment)
            if key is None or segment is None or key == segment
        ]
    if not pattern.tail:
        for node in nodes:
            yield from node.ends
        return
    if not pattern.segments:
        yield from root.ends
    while nodes:
        node = nodes.pop()
        yield from node.tails
        for below in node.below.values():
            yield from below.ends
            nodes.append(below)


def _fitting(node: _Node, segment: str | None) -> Iterator[tuple[str | None, _Node]]:
    if segment is None:
        yield from node.below.items()
        return
    for key in (segment, None):
        if key in node.below:
            yield key, node.below[key]


def _wins_over(policy: Policy, other: _Read, read: _Read) -> bool:
    """Say whether ``other`` wins where both paths match, on a host that both take."""
    hosts, others = hosts_of(read.route), hosts_of(other.route)
    shared = hosts & others if hosts and others else hosts or others or {_FRESH_HOST}
    if not shared or other.pattern[:2] == read.pattern[:2]:
        return False  # beside each other, by hosts or methods
    both = zip_longest(read.pattern.segments, other.pattern.segments)
    segments = tuple(one or another or _FRESH for one, another in both)
    patterns = (read.pattern, other.pattern)
    if any(p.tail and p.segments and len(segments) <= len(p.segments) for p in patterns):
        segments += (_FRESH,)  # a trailing * takes one more, but for `/*`, which matches `/` too
    method = next(iter(methods_of(other.route)), _FRESH)
    found = policy.match(next(iter(shared)), method, segments)
    return (found.route if isinstance(found, NotAllowed) else found) is other.route


def _never(route: Route) -> Problem:
    message = "this route can never match: others are more specific wherever its path matches"
    place: Place = (*ROUTES, route.index, "path")
    return Problem(place, "never-matches", message, "remove it", Severity.WARNING)


def _overlap(route: Route, winners: list[Route]) -> Problem:
    named = ", ".join(quoted(winner.path) for winner in winners[:NAMED])
    more = f" and {len(winners) - NAMED} more" if len(winners) > NAMED else ""
    return Problem(
        (*ROUTES, route.index, "path"),
        "overlap",
        f"where they match too, more specific routes win over this one: {named}{more}",
        "explain says which route a request gets",
        Severity.INFO,
        (*ROUTES, winners[0].index),
    )

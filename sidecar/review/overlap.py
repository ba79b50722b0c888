"""Routes that overlap: which wins, which never matches, and where methods are not allowed."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.config.policy_file import ROUTES
from sidecar.core.routes.patterns import meeting, parse_pattern
from sidecar.core.routes.route import (
    NotAllowed,
    Route,
    example_hosts,
    hosts_of,
    methods_of,
    shared_hosts,
)
from sidecar.core.routes.segments import ANYTHING
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import Problem, info, quoted, warning
from sidecar.review.tree import Read, Tree

MAX_PAIRS = 200_000  # compared routes: about two seconds; real tables have hundreds
NAMED = 3  # overlapping routes that a message names


class _Meeting(NamedTuple):
    """A request, without its method, that two routes match."""

    host: str
    segments: tuple[str, ...]


def problems(policy: Policy) -> Iterator[Problem]:
    """Yield routes that never match, and those from which more specific routes take requests.

    Also where the more specific ones leave out methods that the wider ones allow.
    """
    reads = [_read(route, policy.ignore_case) for route in policy.routes]
    root = Tree()
    for read in reads:
        root.insert(read, read.pattern)
    longest = max((len(read.pattern.segments) for read in reads), default=0)
    pairs = 0
    reported: set[tuple[int, str]] = set()  # a narrower route, and a method that it leaves out
    for read in reads:
        if not _ever_wins(policy, read, longest):
            yield _never(read.route)
            continue
        if pairs > MAX_PAIRS:
            continue
        winners = []
        for other in root.touching(read.pattern):
            pairs += 1
            if pairs > MAX_PAIRS:
                yield _cut(read.route)
                break
            meeting = _meeting(other, read)
            if meeting is None or not _wins(policy, other, meeting):
                continue
            winners.append(other.route)
            lost = [
                method
                for method in _left_out(policy, other.route, read.route, meeting)
                if (other.route.index, method) not in reported
            ]
            if lost:
                reported.update((other.route.index, method) for method in lost)
                yield _gap(other.route, read.route, lost)
        if winners:
            yield _overlap(read.route, winners)


def _read(route: Route, ignore_case: bool) -> Read:
    pattern = parse_pattern(route.path)
    return Read(route, pattern.folded() if ignore_case else pattern)


def _ever_wins(policy: Policy, read: Read, longest: int) -> bool:
    """Return whether the route wins any request, tried with segments that no literal matches."""
    fixed = read.pattern.example()
    least = 1 if read.pattern.tail and fixed else 0  # `/*` also matches `/`
    most = longest - len(fixed) + 2 if read.pattern.tail else 1
    for host in example_hosts(hosts_of(read.route)):
        for method in sorted(methods_of(read.route)) or [ANYTHING]:
            for more in range(least, max(least + 1, most)):
                if policy.match(host, method, fixed + (ANYTHING,) * more) is read.route:
                    return True
    return False


def _meeting(other: Read, read: Read) -> _Meeting | None:
    """Return a host and a path that both routes match, None if there are none."""
    shared = shared_hosts(read.route, other.route)
    segments = meeting(read.pattern, other.pattern)
    if shared is None or segments is None or other.pattern[:2] == read.pattern[:2]:
        return None  # equal paths are distinguished by hosts or methods
    return _Meeting(example_hosts(shared)[0], segments)


def _wins(policy: Policy, other: Read, meeting: _Meeting) -> bool:
    method = next(iter(methods_of(other.route)), ANYTHING)
    found = policy.match(meeting.host, method, meeting.segments)
    return (found.route if isinstance(found, NotAllowed) else found) is other.route


def _left_out(policy: Policy, narrow: Route, wide: Route, meeting: _Meeting) -> Iterator[str]:
    """Yield the methods that ``wide`` allows and no route with the path of ``narrow`` allows.

    Only the first route with that path yields them.
    """
    for method in sorted(wide.methods):
        found = policy.match(meeting.host, method, meeting.segments)
        if isinstance(found, NotAllowed) and found.route is narrow:
            yield method


def _never(route: Route) -> Problem:
    message = "this route never matches: more specific routes match every path of it"
    return warning((*ROUTES, route.index, "path"), "never-matches", message, "remove it")


def _overlap(route: Route, winners: list[Route]) -> Problem:
    named = ", ".join(quoted(winner.path) for winner in winners[:NAMED])
    more = f" and {len(winners) - NAMED} more" if len(winners) > NAMED else ""
    return info(
        (*ROUTES, route.index, "path"),
        "overlap",
        f"more specific routes take requests from this one: {named}{more}",
        "`explain` shows which route a request gets",
        (*ROUTES, winners[0].index),
    )


def _gap(narrow: Route, wide: Route, methods: list[str]) -> Problem:
    named = ", ".join(methods)
    return warning(
        (*ROUTES, narrow.index, "methods"),
        "method-gap",
        f"{named} {quoted(narrow.path)} gets 405 although {quoted(wide.path)} allows {named}: "
        "the path is matched first, then the method",
        f"add {named} here or in a separate route to allow it",
        (*ROUTES, wide.index),
    )


def _cut(route: Route) -> Problem:
    return info(
        (*ROUTES, route.index),
        "not-compared",
        f"overlaps are not checked from this route on: the limit of {MAX_PAIRS:,} pairs is reached",
        "never-matches covers all routes, overlap and method-gap only those before",
    )

"""Lists the routes whose path matches a request, and why all others but one were not selected.

Each route is compiled into a table of its own, so that only the matcher knows how paths match. That
costs as much as compiling the whole table, so the sidecar itself does not do it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sidecar.core.routes.patterns import parse_pattern
from sidecar.core.routes.route import (
    NotAllowed,
    Route,
    closeness,
    methods_of,
    normalise_host,
)
from sidecar.core.routes.segments import Mixed, Segment
from sidecar.core.routes.table import Policy, compile_policy


class Candidate(NamedTuple):
    """A route that might have been selected, and why it was not."""

    route: Route
    lost: str


def not_selected(
    policy: Policy, host: str, method: str, segments: tuple[str, ...]
) -> tuple[Candidate, ...]:
    """Return the other routes whose path matches too, in file order."""
    found = policy.match(host, method, segments)
    winner = found.route if isinstance(found, NotAllowed) else found
    return tuple(
        Candidate(route, _lost(route, winner, host, method))
        for route in policy.routes
        if route is not winner and _matches(policy, route, segments)
    )


def _matches(policy: Policy, route: Route, segments: Sequence[str]) -> bool:
    single = compile_policy(
        (replace(route, methods=frozenset(), hosts=frozenset()),),
        digest="",
        ignore_case=policy.ignore_case,
    )
    return single.match("", "GET", tuple(segments)) is not None


def _lost(route: Route, winner: Route | None, host: str, method: str) -> str:
    name = normalise_host(host)
    if name is None:
        return f"{host!r} is not a valid host, and this table has routes with `hosts`"
    close = closeness(route, name)
    if close is None:
        return f"only for {', '.join(sorted(route.hosts))}, not for {host}"
    if winner is None:
        return "not selected"
    ours, theirs = parse_pattern(route.path), parse_pattern(winner.path)
    if ours[:2] != theirs[:2]:
        return _wider(ours.segments, theirs.segments, winner)
    if (closeness(winner, name) or 0) > close:
        return f"{winner.name} has the same path and names this host"
    methods = methods_of(route)
    if methods and method not in methods:
        return f"it accepts {', '.join(sorted(methods))}, not {method}"
    return f"{winner.name} has the same path and names {method}"


def _wider(ours: Sequence[Segment], theirs: Sequence[Segment], winner: Route) -> str:
    """Return where the winner's path is more specific."""
    for number, (our, their) in enumerate(zip(ours, theirs, strict=False), 1):
        if our == their:
            continue
        if isinstance(their, Mixed):
            written = winner.path.split("/")[number]
            return f"{winner.name} is more specific: its segment {number} is {written}"
        return f"{winner.name} is more specific: its segment {number} is the literal {their!r}"
    return f"{winner.name} is more specific: the trailing * of this route starts earlier"

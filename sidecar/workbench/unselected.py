"""Lists the routes whose path matches a request, and why all others but one were not selected.

Each route is compiled into a table of its own, so that only the matcher knows how paths match. That
costs as much as compiling the whole table, so the sidecar itself does not do it.
"""

from collections.abc import Iterable, Sequence
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
from sidecar.workbench.steps import Bilingual


class Unselected(NamedTuple):
    """A route that might have been selected, and why it was not."""

    route: Route
    lost: Bilingual


def not_selected(
    policy: Policy, host: str, method: str, segments: tuple[str, ...]
) -> tuple[Unselected, ...]:
    """Return the other routes whose path matches too, in file order."""
    found = policy.match(host, method, segments)
    winner = found.route if isinstance(found, NotAllowed) else found
    return tuple(
        Unselected(route, _lost(route, winner, host, method))
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


def _lost(route: Route, winner: Route | None, host: str, method: str) -> Bilingual:
    name = normalise_host(host)
    if name is None:
        return Bilingual(
            f"{host!r} is not a valid host, and this table has routes with `hosts`",
            f"{host!r} 不是有效的主机，而路由表中有限定主机的路由",
        )
    close = closeness(route, name)
    if close is None:
        hosts = sorted(route.hosts)
        return Bilingual(
            f"only for {', '.join(hosts)}, not for {host}",
            f"只适用于 {'、'.join(hosts)}，不适用于 {host}",
        )
    if winner is None:
        return Bilingual("not selected", "未选用")
    ours, theirs = parse_pattern(route.path), parse_pattern(winner.path)
    if ours[:2] != theirs[:2]:
        return _wider(ours.segments, theirs.segments, winner)
    if (closeness(winner, name) or 0) > close:
        return Bilingual(
            f"{winner.name} has the same path and names this host",
            f"{winner.name} 路径相同，且指定了该主机",
        )
    methods = methods_of(route)
    if methods and method not in methods:
        return accepts(methods, method)
    return Bilingual(
        f"{winner.name} has the same path and names {method}",
        f"{winner.name} 路径相同，且指定了方法 {method}",
    )


def accepts(methods: Iterable[str], method: str) -> Bilingual:
    """Return that a route has other methods."""
    listed = sorted(methods)
    return Bilingual(
        f"it accepts {', '.join(listed)}, not {method}",
        f"它只接受 {'、'.join(listed)}，不接受 {method}",
    )


def _wider(ours: Sequence[Segment], theirs: Sequence[Segment], winner: Route) -> Bilingual:
    """Return where the winner's path is more specific."""
    for number, (our, their) in enumerate(zip(ours, theirs, strict=False), 1):
        if our == their:
            continue
        if isinstance(their, Mixed):
            written = winner.path.split("/")[number]
            return Bilingual(
                f"{winner.name} is more specific: its segment {number} is {written}",
                f"{winner.name} 更具体：它的第 {number} 段为 {written}",
            )
        return Bilingual(
            f"{winner.name} is more specific: its segment {number} is the literal {their!r}",
            f"{winner.name} 更具体：它的第 {number} 段是固定文本 {their!r}",
        )
    return Bilingual(
        f"{winner.name} is more specific: the trailing * of this route starts earlier",
        f"{winner.name} 更具体：本路由末尾的 * 开始得更早",
    )

"""Finds the routes that a request nearly matches, the nearest first, and what is different."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from sidecar.core.paths.fold import fold
from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.core.routes.route import Route, methods_of
from sidecar.core.routes.segments import Mixed, Segment
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import quoted
from sidecar.workbench.steps import Bilingual
from sidecar.workbench.unselected import accepts

MAX_NEAR = 3  # routes that are listed
MAX_DISTANCE = 1.0  # one segment more or less, or two with a typo

_CASE, _TAIL, _TYPO, _SEGMENT = 0.1, 0.2, 0.5, 1.0  # what each difference counts
_LIKENESS = 0.6  # of two segments, so that one may be a typo of the other
_FAR = 99.0
_NEEDS_MORE = Bilingual(
    "the trailing * needs at least one more segment", "末尾的 * 至少还需要一个段"
)


class Near(NamedTuple):
    """A route that nearly matches: its distance, and the differences as text."""

    distance: float
    differences: tuple[Bilingual, ...] = ()

    def and_then(self, distance: float, *difference: Bilingual) -> "Near":
        """Return this with one more difference."""
        return Near(self.distance + distance, (*self.differences, *difference))


def near_routes(
    policy: Policy, method: str, segments: Sequence[str], besides: Route | None = None
) -> list[tuple[Route, Bilingual]]:
    """Return the nearest routes, those that accept the method before others as near.

    ``besides`` is the route whose path matches.
    """
    found = []
    for route in policy.routes:
        if route is besides:
            continue
        near = _distance(parse_pattern(route.path), tuple(segments), fold_case=policy.ignore_case)
        methods = methods_of(route)
        others = bool(methods) and method not in methods
        if near.distance <= MAX_DISTANCE and not (besides and others):
            words = list(near.differences) or [Bilingual("similar path", "路径相近")]
            if others:
                words.append(accepts(methods, method))
            found.append((near.distance, others, route.index, route, Bilingual.joined(words)))
    return [(route, text) for *_, route, text in sorted(found)[:MAX_NEAR]]


def _distance(pattern: Pattern, segments: tuple[str, ...], *, fold_case: bool) -> Near:
    """Return the least distance of a path to a pattern, by segments that differ."""
    wanted = pattern.segments
    if abs(len(segments) - len(wanted)) > 1 and not pattern.tail:
        return Near(_FAR)
    best = _least(wanted, segments, fold_case)
    if not pattern.tail:
        return best
    if len(segments) == len(wanted):
        return best.and_then(_TAIL, _NEEDS_MORE)
    beginnings = [_least(wanted, segments[:n], fold_case) for n in range(len(segments))]
    return min(beginnings, default=Near(_FAR))


def _least(wanted: tuple[Segment, ...], given: tuple[str, ...], fold_case: bool) -> Near:
    """Return the distance of equally many segments, or of one more or less."""
    more = len(wanted) - len(given)
    if more == 0:
        result = Near(0.0)
        for want, have in zip(wanted, given, strict=True):
            result = _compare(result, want, have, fold_case)
        return result
    if abs(more) > 1:
        return Near(_FAR)
    ways = []
    for index in range(max(len(wanted), len(given))):
        rest, left = wanted, given
        if more == 1:
            rest = wanted[:index] + wanted[index + 1 :]
            segment = _shown(wanted[index])
            text = Bilingual(
                f"the route has one more segment, {segment.english}",
                f"该路由多一个段：{segment.chinese}",
            )
        else:
            left = given[:index] + given[index + 1 :]
            other = quoted(given[index])
            text = Bilingual(
                f"the route has one segment less, without {other}", f"该路由少一个段：{other}"
            )
        if any(literal is not None for literal in rest):  # otherwise nothing is alike
            ways.append(_least(rest, left, fold_case).and_then(_SEGMENT, text))
    return min(ways, default=Near(_FAR))


def _compare(result: Near, want: Segment, have: str, fold_case: bool) -> Near:
    if want is None or want == have:
        return result
    if isinstance(want, Mixed):
        if want.takes(have) or (fold_case and want.folded().takes(fold(have))):
            return result
        return result.and_then(_TYPO, _other(_shown(want).english, have))
    if fold(want) == fold(have):
        if fold_case:
            return result
        text = Bilingual(
            f"{quoted(have)} and {quoted(want)} differ only in letter case",
            f"{quoted(have)} 与 {quoted(want)} 仅大小写不同",
        )
        return result.and_then(_CASE, text)
    if SequenceMatcher(a=want, b=have, autojunk=False).ratio() >= _LIKENESS:
        return result.and_then(_TYPO, _other(quoted(want), have))
    return result.and_then(_FAR)


def _other(want: str, have: str) -> Bilingual:
    return Bilingual(
        f"the route has {want}, not {quoted(have)}", f"该路由中是 {want}，而不是 {quoted(have)}"
    )


def _shown(segment: Segment) -> Bilingual:
    if segment is None:
        return Bilingual("a wildcard", "通配段")
    if isinstance(segment, Mixed):
        segment = f"{segment.prefix}{{name}}{segment.suffix}"
    return Bilingual(quoted(segment), quoted(segment))

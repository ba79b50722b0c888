"""Finds the routes that a request nearly matches, the nearest first, and what is different."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from sidecar.core.paths.fold import fold
from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.core.routes.route import Route, methods_of
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import quoted

MAX_NEAR = 3  # routes that are listed
MAX_DISTANCE = 1.0  # one segment more or less, or two with a typo

_CASE, _TAIL, _TYPO, _SEGMENT = 0.1, 0.2, 0.5, 1.0  # what each difference counts
_LIKENESS = 0.6  # of two segments, so that one may be a typo of the other
_FAR = 99.0


class Near(NamedTuple):
    """A route that nearly matches: its distance, and the differences as text."""

    distance: float
    differences: tuple[str, ...] = ()

    def and_then(self, distance: float, *difference: str) -> "Near":
        """Return this with one more difference."""
        return Near(self.distance + distance, (*self.differences, *difference))


def near_routes(
    policy: Policy, method: str, segments: Sequence[str], besides: Route | None = None
) -> list[tuple[Route, str]]:
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
            text = "; ".join(near.differences) or "similar path"
            if others:
                text += f"; it accepts {', '.join(sorted(methods))}, not {method}"
            found.append((near.distance, others, route.index, route, text))
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
        return best.and_then(_TAIL, "the trailing * needs at least one more segment")
    beginnings = [_least(wanted, segments[:n], fold_case) for n in range(len(segments))]
    return min(beginnings, default=Near(_FAR))


def _least(wanted: tuple[str | None, ...], given: tuple[str, ...], fold_case: bool) -> Near:
    """Return the distance of equally many segments, or of one more or less."""
    if len(wanted) == len(given):
        result = Near(0.0)
        for want, have in zip(wanted, given, strict=True):
            result = _compare(result, want, have, fold_case)
        return result
    shorter, longer = sorted((wanted, given), key=len)
    if len(longer) - len(shorter) > 1:
        return Near(_FAR)
    ways = []
    for index, extra in enumerate(longer):
        shown = "a wildcard" if extra is None else quoted(extra)
        if len(wanted) > len(given):
            rest, text = (
                wanted[:index] + wanted[index + 1 :],
                f"the route has one more segment, {shown}",
            )
            way = _least(rest, given, fold_case)
        else:
            rest, text = wanted, f"the route has one segment less, without {shown}"
            way = _least(wanted, given[:index] + given[index + 1 :], fold_case)
        if any(literal is not None for literal in rest):  # otherwise nothing is alike
            ways.append(way.and_then(_SEGMENT, text))
    return min(ways, default=Near(_FAR))


def _compare(result: Near, want: str | None, have: str, fold_case: bool) -> Near:
    if want is None or want == have or (fold_case and fold(want) == fold(have)):
        return result
    if fold(want) == fold(have):
        return result.and_then(
            _CASE, f"{quoted(have)} and {quoted(want)} differ only in letter case"
        )
    if SequenceMatcher(a=want, b=have, autojunk=False).ratio() >= _LIKENESS:
        return result.and_then(_TYPO, f"the route has {quoted(want)}, not {quoted(have)}")
    return result.and_then(_FAR)

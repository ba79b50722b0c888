"""Neighbour readings: the other routes that some upstream matches a path to.

The canonical reading is decoded segments, compared exactly. Upstreams differ from it
(``upstreams.Upstream``), and their own reading chooses the handler. So a request must meet the
requirements of every route that any such reading matches.

One walk through the table finds them all. Each step knows which literals *some* upstream takes a
segment for, and whether *every* upstream takes it for the one that it is. The walk goes as
``Policy.match`` does, the more specific first, and on to what is less specific for as long as some
upstream would. So readings compose (``/api/ADMIN.json/``) without being multiplied out, and each
node of the table is visited once at most.

A path that a route names letter by letter is that route's: other cases and formats are looked for
only where the canonical route has a wildcard that lies over something more specific.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Final, cast

from sidecar.core.paths.canonical import Path
from sidecar.core.paths.fold import fold
from sidecar.core.paths.upstreams import Upstream
from sidecar.core.routes.mixed_readings import MixedReadings
from sidecar.core.routes.nodes import Node
from sidecar.core.routes.patterns import Pattern
from sidecar.core.routes.route import NotAllowed, Route, written_with_slash
from sidecar.core.routes.segments import Mixed, MixedIndex, folded
from sidecar.core.routes.walk import Doubtful, Walk

# All escapes except those of bytes that must be encoded, in upper case as is usual: an upstream
# that compares before decoding matches a literal in no other spelling.
_ODD_ESCAPE: Final = re.compile(rb"%(?!(?:[89A-F][0-9A-F]|2[0235F]|3[BCEF]|5[BCDE]|60|7[BCD]))")


class Neighbours:
    """The neighbour readings of one table, with everything that can be computed at load."""

    def __init__(
        self,
        root: Node,
        everything: Node | None,
        patterns: Sequence[tuple[Route, Pattern]],
        upstream: Upstream,
        *,
        ignore_case: bool,
    ) -> None:
        """Take a compiled table, and its patterns as they were written."""
        self._root = root
        self._everything = everything
        self._ignore_case = ignore_case
        segments = [segment for _, pattern in patterns for segment in pattern.segments]
        written = {segment for segment in segments if isinstance(segment, str)}
        folds = {literal: fold(literal) for literal in written}
        self._literals = frozenset(folds.values() if ignore_case else written)
        # Of what folds to a literal: `i` can be two characters, `ss` one.
        self._longest = 2 * max((len(text) for pair in folds.items() for text in pair), default=0)
        # By their fold, the literals of which one is not its own fold: most tables have none.
        self._spellings: dict[str, tuple[str, ...]] = {}
        if not ignore_case:
            odd = {folded for literal, folded in folds.items() if literal != folded}
            for literal, folded in folds.items():
                if folded in odd:
                    self._spellings[folded] = (*self._spellings.get(folded, ()), literal)
        self._over = frozenset(
            route.index for route, pattern in patterns if self._lies_over(pattern, folds)
        )
        self._with_slash = frozenset(
            route.index
            for route, pattern in patterns
            if written_with_slash(route) and not pattern.tail
        )
        lasts = {p.segments[-1] for _, p in patterns if p.tail and p.segments}
        before_tails = {last for last in lasts if isinstance(last, str)}
        self._before_tails = frozenset(
            folds[last] if ignore_case else last for last in before_tails
        )
        self._any_before_tails = lasts != before_tails
        self._beyond_ascii = frozenset(literal for literal in written if not literal.isascii())
        self._ascii = frozenset(folds[literal] for literal in written - self._beyond_ascii)
        self._lookalikes = {folds[literal] for literal in self._beyond_ascii} - self._ascii
        self._has_lookalikes = ignore_case and self._lookalikes != set()
        mixed = {segment for segment in segments if isinstance(segment, Mixed)}
        self._mixed = MixedReadings(mixed, ignore_case=ignore_case) if mixed else None
        self._take_for(upstream)

    def seen_by(self, upstream: Upstream) -> Neighbours:
        """Return the neighbours of the same table before another upstream."""
        other = copy(self)
        other._take_for(upstream)  # noqa: SLF001 -- of the same class
        return other

    def unconcerned(self, routes: frozenset[int]) -> frozenset[int]:
        """Return those of the table's routes, by index, whose ``plain`` paths ``concern`` none."""
        dotted = not self._front_controller or "." in self._front_controller
        if self._has_lookalikes or self._mixed is not None or not dotted:
            return frozenset()
        return routes - self._over - self._with_slash

    def concern(self, path: Path, routes: Sequence[Route]) -> bool:
        """Say whether the path may have other readings, which is quickly ruled out for most.

        ``routes`` are the canonical routes of the path's readings.
        """
        if len(routes) > 1 or path.slashes[0] is not (routes[0].index in self._with_slash):
            return True
        segments = path.readings[0]
        return (
            (self._minds_escapes and b"%" in path.raw and self._doubted(path, segments) != [])
            or (segments != () and segments[0] == self._front_controller)
            or (self._minds_dots and b"." in path.raw)
            or (self._has_lookalikes and not self._lookalikes.isdisjoint(map(fold, segments)))
            or (routes[0].index in self._over and self._is_unusual(path))
            or (
                self._mixed is not None
                and self._mixed.differ(
                    path, segments, self._odd(path, len(segments)), self._upstream
                )
            )
        )

    def reached(
        self, path: Path, host: str, method: str
    ) -> Iterator[tuple[tuple[str, ...], Route | NotAllowed]]:
        """Yield each route that some upstream matches the path to, with the segments that it sees.

        The canonical routes are usually among them. ``host`` is normalised.

        Raises PathError where finding them takes more than ``MAX_WORK``.
        """
        work = path.work
        for segments, slash in zip(path.readings, path.slashes, strict=True):
            doubted = self._doubted(path, segments)
            mixed: Mapping[int, Mapping[Mixed, bool]] = {}
            if self._mixed is not None:
                odd = self._odd(path, len(segments))
                mixed = self._mixed.of(path, segments, odd, self._upstream)
            ways = [(segments, doubted, mixed)]
            if segments[:1] == (self._front_controller,):
                shifted = {index - 1: taken for index, taken in mixed.items()}
                ways.append((segments[1:], [index - 1 for index in doubted], shifted))
            for seen, doubted, mixed in ways:
                walk = Walk(self._upstream, host, method, work)
                for doubtful in self._doubtful(seen, doubted, mixed, slash=slash):
                    walk.through(doubtful, self._root, self._everything)
                work = walk.work
                for found in walk.found:
                    yield seen, found

    def _take_for(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._ignores_case = upstream.ignores_case or self._ignore_case
        self._minds_escapes = upstream.compares_encoded or self._ignore_case
        self._minds_dots = upstream.dots_end_captures
        self._front_controller = upstream.front_controller

    def _lies_over(self, pattern: Pattern, folds: dict[str, str]) -> bool:
        """Say whether one of the pattern's wildcards lies over something more specific."""
        if not pattern.takes_many:
            return False
        node = self._root
        for written in pattern.segments:
            segment = folded(written) if self._ignore_case else written
            if segment is None:
                if node.literals or node.mixed:
                    return True
                node = cast("Node", node.one)
            elif isinstance(segment, Mixed):
                index = cast("MixedIndex[Node]", node.mixed)
                if node.literals or index.largest > segment.size:
                    return True
                node = cast("Node", index.get(segment))
            else:
                if len(self._spellings.get(folds[cast("str", written)], ())) > 1:
                    return True
                node = node.literals[segment]
        return pattern.tail and bool(node.literals or node.mixed or node.one)

    def _is_unusual(self, path: Path) -> bool:
        """Say whether a path with one reading may match something more specific than its wildcard.

        This is checked for many requests, so the cheapest test is first.
        """
        raw, segments = path.raw, path.readings[0]
        if self._ignore_case:
            segments = tuple(map(fold, segments))
        dotted = b"." in raw or b"%" in raw
        if self._is_before_tail(segments) or (dotted and any(self._without_format(segments[-1]))):
            return True
        if not self._ignores_case or self._ignore_case:
            return False
        if b"%" in raw or (self._spellings and not self._spellings.keys().isdisjoint(segments)):
            return True
        lower = raw.lower()
        if lower == raw:
            return False
        return any(
            text != segment and (text in self._literals or text in self._spellings)
            for text, segment in zip(lower.decode().split("/"), segments, strict=True)
        )

    def _is_before_tail(self, keys: tuple[str, ...]) -> bool:
        """Say whether a trailing wildcard may take a path of these segments, and nothing more."""
        return (
            self._upstream.empty_tails
            and keys != ()
            and (self._any_before_tails or keys[-1] in self._before_tails)
        )

    def _doubtful(
        self,
        segments: tuple[str, ...],
        doubted: list[int],
        mixed: Mapping[int, Mapping[Mixed, bool]],
        *,
        slash: bool,
    ) -> Iterator[Doubtful]:
        """Yield the path as upstreams may compare it: with its trailing slash, and without."""
        keys = tuple(map(fold, segments)) if self._ignore_case else segments
        others = self._others(segments, keys)
        if slash and self._upstream.keeps_slash:
            yield Doubtful(keys, doubted, others, mixed, keeps_slash=True)
        if not slash or self._upstream.ignores_slash:
            yield Doubtful(keys, doubted, others, mixed, keeps_slash=False)

    def _doubted(self, path: Path, segments: tuple[str, ...]) -> list[int]:
        """Return the segments that are a literal to some upstreams, and not to all."""
        odd = self._odd(path, len(segments))
        if self._ignore_case:
            return [
                index
                for index, segment in enumerate(segments)
                if (index in odd or self._has_odd_case(segment)) and fold(segment) in self._literals
            ]
        return [index for index in odd if segments[index] in self._literals]

    def _odd(self, path: Path, count: int) -> set[int]:
        """Return the segments that no literal is, compared before they are decoded."""
        if not self._upstream.compares_encoded or not _ODD_ESCAPE.search(path.raw):
            return set()
        raw = path.raw.split(b"/")
        if len(path.readings) > 1 or len(raw) != count:
            return set(range(count))  # which of them had the escape is not known any more
        return {index for index, segment in enumerate(raw) if _ODD_ESCAPE.search(segment)}

    def _has_odd_case(self, segment: str) -> bool:
        """Say whether upstreams that ignore case may differ about a segment.

        They agree on ASCII, and on what is spelt as the table writes it.
        """
        if segment.isascii():
            return segment.lower() not in self._ascii
        return segment not in self._beyond_ascii

    def _others(
        self, segments: tuple[str, ...], keys: tuple[str, ...]
    ) -> dict[int, tuple[str, ...]]:
        """Return, by their index, the segments that some upstream takes for other literals."""
        found: dict[int, tuple[str, ...]] = {}
        last = len(segments) - 1
        for index, segment in enumerate(segments):
            others: list[str] = []
            for text in (segment, *self._without_format(segment)) if index == last else (segment,):
                folded = fold(text) if self._ignores_case else text
                if folded in self._literals:
                    others.append(folded)
                if self._ignores_case and folded in self._spellings:
                    others += self._spellings[folded]
            others = [other for other in others if other != keys[index]]
            if others:
                found[index] = tuple(dict.fromkeys(others))
        return found

    def _without_format(self, segment: str) -> Iterator[str]:
        """Yield what a format may be written after in a last segment: what is before each dot."""
        suffixes = self._upstream.suffixes
        dot = segment.find(".", 1, self._longest + 1)
        if dot < 0:
            return
        if suffixes is not None and segment.rpartition(".")[2].lower() not in suffixes:
            return
        while dot > 0:
            yield segment[:dot]
            dot = segment.find(".", dot + 1, self._longest + 1)

"""What upstreams take a segment for, where a table has names between literals: ``{id}:verb``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sidecar.core.paths.canonical import Path
from sidecar.core.paths.fold import fold
from sidecar.core.paths.problems import PathError, PathProblem
from sidecar.core.paths.upstreams import Upstream
from sidecar.core.routes.segments import Mixed, MixedIndex

MAX_FORMATS: Final = 32
"""Dots of a last segment, before each of which a format may begin; file names have fewer."""


class MixedReadings:
    """The ``Mixed`` of one table, found by any spelling."""

    def __init__(self, mixed: Collection[Mixed], *, ignore_case: bool) -> None:
        """Take what the table writes."""
        self._ignore_case = ignore_case
        self._written: dict[Mixed, list[Mixed]] = {}
        for each in sorted(mixed):
            self._written.setdefault(each.folded(), []).append(each)
        self._by_fold: MixedIndex[tuple[Mixed, ...]] = MixedIndex()
        self._exact: MixedIndex[tuple[Mixed, ...]] = MixedIndex()
        for key, spelt in self._written.items():
            of_table = (key,) if ignore_case else tuple(spelt)
            self._by_fold.add(key, of_table)
            for each in of_table:
                self._exact.add(each, (each,))

    def of(
        self, path: Path, segments: Sequence[str], odd: Collection[int], upstream: Upstream
    ) -> Mapping[int, Mapping[Mixed, bool]]:
        """Return what some upstream takes each segment for, and whether all do so.

        By index, each the most specific first. ``odd`` are the segments with escapes that an
        upstream may compare before it decodes them. Raises PathError for more than MAX_FORMATS.
        """
        raw = path.raw.split(b"/")
        known = len(path.readings) == 1 and len(raw) == len(segments)
        last = len(segments) - 1
        found = {}
        for index, segment in enumerate(segments):
            spelt = raw[index].decode("ascii") if known else ""
            before_decoding = spelt if index in odd else segment
            taken = self._surely(segment, before_decoding, upstream, last=index == last)
            for text in self._spellings(segment, upstream, last=index == last):
                for _, of_table in self._index(upstream).matching(text, empty=upstream.empty_parts):
                    for mixed in of_table:
                        taken.setdefault(mixed, False)
            if taken:
                found[index] = dict(sorted(taken.items(), key=lambda pair: -pair[0].size))
        return found

    def differ(
        self, path: Path, segments: Sequence[str], odd: Collection[int], upstream: Upstream
    ) -> bool:
        """Say whether upstreams may differ about a segment."""
        try:
            found = self.of(path, segments, odd, upstream)
        except PathError:
            return True
        return not all(all(taken.values()) for taken in found.values())

    def _index(self, upstream: Upstream) -> MixedIndex[tuple[Mixed, ...]]:
        return self._by_fold if upstream.ignores_case or self._ignore_case else self._exact

    def _surely(
        self, segment: str, before_decoding: str, upstream: Upstream, *, last: bool
    ) -> dict[Mixed, bool]:
        """Return what a segment is in the canonical reading, and whether it is to all upstreams."""
        key, spelt = segment, before_decoding
        if self._ignore_case:
            key, spelt = fold(key), fold(spelt)
        taken = {}
        for mixed, _ in self._exact.matching(key):
            dots = upstream.dots_end_captures and "." in mixed.capture(key)
            taken[mixed] = (
                mixed.takes(spelt)
                and not (upstream.literals_end_captures and _ends_early(mixed, key, spelt))
                and not (dots and (mixed.suffix or not last))
                and not (self._ignore_case and self._has_odd_case(mixed, segment))
            )
        return taken

    def _has_odd_case(self, mixed: Mixed, segment: str) -> bool:
        """Say whether upstreams that ignore case may differ about the literals of a segment."""
        written = self._written[mixed]
        ends = segment[: len(mixed.prefix)] + segment[len(segment) - len(mixed.suffix) :]
        if ends.isascii() and all(text.isascii() for each in written for text in each):
            return False
        return not any(each.takes(segment) for each in written)

    def _spellings(self, segment: str, upstream: Upstream, *, last: bool) -> Iterator[str]:
        """Yield a segment as some upstream may compare it."""
        for text in (segment, *(_without_format(segment, upstream) if last else ())):
            if upstream.ignores_case or self._ignore_case:
                yield fold(text)
                if not text.isascii():
                    yield text.lower()  # what `İ` folds to has one character less
            else:
                yield text


def _ends_early(mixed: Mixed, *spellings: str) -> bool:
    """Say whether the name between the literals takes the first character of the second one."""
    if not mixed.suffix:
        return False
    first = fold(mixed.suffix)[0]
    return any(first in fold(mixed.capture(text)) for text in spellings)


def _without_format(segment: str, upstream: Upstream) -> Iterator[str]:
    """Yield what is before each dot of a last segment, after which a format may be written."""
    suffixes = upstream.suffixes
    if suffixes is not None and segment.rpartition(".")[2].lower() not in suffixes:
        return
    if segment.count(".") > MAX_FORMATS:
        raise PathError(PathProblem.TOO_MUCH_WORK)
    dot = segment.find(".", 1)
    while dot > 0:
        yield segment[:dot]
        dot = segment.find(".", dot + 1)

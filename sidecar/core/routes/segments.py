"""One segment of a route's path: a literal, ``{name}``, or a ``{name}`` between literals."""

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from sidecar.core.paths.fold import fold

ANYTHING = "\x00"
"""Stands for text that is not part of a literal: no path contains a NUL."""


class Mixed(NamedTuple):
    """A ``{name}`` between a literal prefix and suffix, of which at most one is empty.

    It takes a segment that has at least one character between them.
    """

    prefix: str
    suffix: str

    @property
    def size(self) -> int:
        """The characters of its literals: the more, the more specific."""
        return len(self.prefix) + len(self.suffix)

    def folded(self) -> "Mixed":
        """Return it as it is compared without regard to case."""
        return Mixed(fold(self.prefix), fold(self.suffix))

    def takes(self, segment: str, *, empty: bool = False) -> bool:
        """Say whether a segment is one of these; with ``empty`` also with nothing between."""
        return (
            len(segment) + empty > self.size
            and segment.startswith(self.prefix)
            and segment.endswith(self.suffix)
        )

    def capture(self, segment: str) -> str:
        """Return what is between the literals of a segment that this takes."""
        return segment[len(self.prefix) : len(segment) - len(self.suffix)]

    def capture_in(self, segment: str) -> str | None:
        """Do the same in any letter case; None for a segment that this does not take."""
        end = len(segment) - len(self.suffix)
        if end <= len(self.prefix):
            return None
        ends = Mixed(segment[: len(self.prefix)], segment[end:])
        same = ends == self or ends.folded() == self.folded()
        return self.capture(segment) if same else None


Segment = str | Mixed | None
"""A literal's decoded text, a ``{name}`` between literals, or None for any segment."""


def folded(segment: Segment) -> Segment:
    """Return a segment as it is compared without regard to case."""
    if isinstance(segment, Mixed):
        return segment.folded()
    return segment and fold(segment)


def example(segment: Segment, anything: str = ANYTHING) -> str:
    """Return text that the segment takes, with ``anything`` in the place of a name."""
    if isinstance(segment, Mixed):
        return f"{segment.prefix}{anything}{segment.suffix}"
    return anything if segment is None else segment


def covers(wide: Segment, narrow: Segment) -> bool:
    """Say whether ``wide`` takes everything that ``narrow`` takes."""
    if wide is None or wide == narrow:
        return True
    return isinstance(wide, Mixed) and narrow is not None and wide.takes(example(narrow))


def both(one: Segment, other: Segment, anything: str = ANYTHING) -> str | None:
    """Return text that both segments take, None where there is none."""
    if one is None or other is None:
        return example(other if one is None else one, anything)
    if isinstance(one, Mixed) and isinstance(other, Mixed):
        prefix = max(one.prefix, other.prefix, key=len)
        suffix = max(one.suffix, other.suffix, key=len)
        shared = Mixed(prefix, suffix)
        text = example(shared)
        return example(shared, anything) if one.takes(text) and other.takes(text) else None
    if isinstance(one, Mixed) and isinstance(other, str):
        return other if one.takes(other) else None
    if isinstance(one, str) and isinstance(other, Mixed):
        return one if other.takes(one) else None
    return one if isinstance(one, str) and one == other else None


T = TypeVar("T")


class MixedIndex(Generic[T]):
    """Values by their ``Mixed``, found by text.

    By the prefix, and below it by the suffix; a look-up tries each length that there is once, so
    its cost does not grow with how many values there are.
    ``largest`` is the size of the most specific.
    """

    __slots__ = ("_by_prefix", "_lengths", "largest")

    def __init__(self) -> None:
        self.largest = 0
        self._by_prefix: dict[str, tuple[list[int], dict[str, tuple[Mixed, T]]]] = {}
        self._lengths: list[int] = []

    def get(self, mixed: Mixed) -> T | None:
        """Return the value of exactly this one."""
        group = self._by_prefix.get(mixed.prefix)
        found = None if group is None else group[1].get(mixed.suffix)
        return None if found is None else found[1]

    def add(self, mixed: Mixed, value: T) -> T:
        """Add a value and return it."""
        self.largest = max(self.largest, mixed.size)
        lengths, by_suffix = self._by_prefix.setdefault(mixed.prefix, ([], {}))
        by_suffix[mixed.suffix] = (mixed, value)
        for known, length in (lengths, len(mixed.suffix)), (self._lengths, len(mixed.prefix)):
            if length not in known:
                insort(known, length)
        return value

    def items(self) -> Iterator[tuple[Mixed, T]]:
        """Yield each with its value."""
        for _, by_suffix in self._by_prefix.values():
            yield from by_suffix.values()

    def matching(self, text: str, *, empty: bool = False) -> list[tuple[Mixed, T]]:
        """Return those that take a segment, the most specific last."""
        room = len(text) if empty else len(text) - 1
        found = []
        for start in self._lengths:
            if start > room:
                break
            group = self._by_prefix.get(text[:start])
            if group is None:
                continue
            lengths, by_suffix = group
            for length in lengths:
                if start + length > room:
                    break
                hit = by_suffix.get(text[len(text) - length :])
                if hit is not None:
                    found.append(hit)
        if len(self._lengths) > 1:
            found.sort(key=lambda hit: hit[0].size)
        return found

    def most_at_once(self, weight: Callable[[T], int]) -> int:
        """Return what those that take one text weigh together at most."""
        heaviest: dict[str, int] = {}
        for prefix, (lengths, by_suffix) in self._by_prefix.items():
            weights = {suffix: weight(value) for suffix, (_, value) in by_suffix.items()}
            heaviest[prefix] = max(
                sum(weights.get(suffix[len(suffix) - n :], 0) for n in lengths if n <= len(suffix))
                for suffix in weights
            )
        return max(
            sum(heaviest.get(prefix[:n], 0) for n in self._lengths if n <= len(prefix))
            for prefix in self._by_prefix
        )

    def unordered(self) -> Iterator[tuple[Mixed, Mixed]]:
        """Yield each two that take one text and are equally specific: ``a{x}`` and ``{x}b``."""
        wanted = {len(mixed.suffix) for mixed, _ in self.items() if mixed.prefix}
        tails: dict[tuple[str, int, str], list[Mixed]] = defaultdict(list)
        for mixed, _ in self.items() if wanted else ():
            prefix, suffix = mixed
            for length in wanted:
                if length < len(suffix):
                    tail = suffix[len(suffix) - length :]
                    tails[prefix, len(suffix), tail].append(mixed)
        for mixed, _ in self.items() if tails else ():
            for n in range(len(mixed.prefix)):
                for other in tails.get((mixed.prefix[:n], mixed.size - n, mixed.suffix), ()):
                    yield mixed, other

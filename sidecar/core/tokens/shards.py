"""A part of the table of revocations: a fixed cost for each entry, and short pauses to grow."""

from array import array
from collections.abc import Iterator
from typing import Final

_FIRST_SLOTS: Final = 8
_LATEST: Final = 2**32 - 1  # in 2106, the last second that four bytes hold


class Shard:
    """An open-addressed table: a mark is in the first slot from its place on that it found empty.

    ``keys`` holds marks, 0 for an empty slot; at most two thirds of the slots are used.
    """

    __slots__ = ("keys", "seen", "times", "used")

    def __init__(self, slots: int = _FIRST_SLOTS) -> None:
        self.keys = array("Q", bytes(8 * slots))
        self.times = array("d", bytes(8 * slots))
        self.seen = array("I", bytes(4 * slots))
        self.used = 0

    @classmethod
    def of(cls, entries: list[tuple[int, float, int]]) -> "Shard":
        """Return a shard with these entries."""
        slots = _FIRST_SLOTS
        while slots * 2 < len(entries) * 3:
            slots *= 2
        shard = cls(slots)
        for mark, time, seen in entries:
            shard.put(mark, time, seen)
        return shard

    @property
    def memory(self) -> int:
        """The size in bytes."""
        return 20 * len(self.keys)

    def time(self, mark: int) -> float | None:
        """Return the time of the entry with this mark; None where there is none."""
        place = self._place(mark)
        return self.times[place] if self.keys[place] else None

    def put(self, mark: int, time: float, seen: float) -> None:
        """Add an entry, or raise the times of the one with this mark."""
        place = self._place(mark)
        if not self.keys[place]:
            if (self.used + 1) * 3 > len(self.keys) * 2:
                self._grow()
                place = self._place(mark)
            self.keys[place] = mark
            self.used += 1
        self.times[place] = max(self.times[place], time)
        self.seen[place] = max(self.seen[place], min(int(seen), _LATEST))

    def entries(self) -> Iterator[tuple[int, float, int]]:
        """Yield mark, time and last listing of each entry."""
        found = zip(self.keys, self.times, self.seen, strict=True)
        return ((mark, time, seen) for mark, time, seen in found if mark)

    def _place(self, mark: int) -> int:
        keys = self.keys
        last = len(keys) - 1
        place = (mark >> 8) & last
        while (there := keys[place]) and there != mark:
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        larger = Shard(2 * len(self.keys))
        for mark, time, seen in self.entries():
            larger.put(mark, time, seen)
        self.keys, self.times, self.seen = larger.keys, larger.times, larger.seen

"""A bounded cache whose look-up costs no more than a dict's."""

from collections.abc import Callable
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class TwoGenerationCache(Generic[_Key, _Value]):
    """Holds recently used entries: at least half of ``capacity``, at most all of it.

    There are two generations: when the young one is full it becomes the old one, and old entries
    that were not used meanwhile are dropped. So a look-up need not keep entries in order.
    """

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)  # at least one entry per generation
        self._young: dict[_Key, _Value] = {}
        self._old: dict[_Key, _Value] = {}

    def get(self, key: _Key) -> _Value | None:
        """Return the value of a key, None if there is none."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: _Key, value: _Value) -> None:
        """Add a value, which is not None."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def drop(self, key: _Key) -> None:
        """Remove a key."""
        self._young.pop(key, None)
        self._old.pop(key, None)


class SizedTwoGenerationCache(TwoGenerationCache[_Key, _Value]):
    """Likewise, with at most ``max_bytes``: ``size_of`` returns the size of an entry.

    An entry of more than half of them is not added.
    """

    def __init__(
        self, capacity: int, max_bytes: int, size_of: Callable[[_Key, _Value], int]
    ) -> None:
        super().__init__(capacity)
        self._half_bytes = max_bytes // 2
        self._size_of = size_of
        self._young_bytes = 0

    def put(self, key: _Key, value: _Value) -> None:
        """Add a value, which is not None, unless it is too large."""
        size = self._size_of(key, value)
        if size > self._half_bytes:
            self.drop(key)
            return
        if key in self._young:
            self._take_out(key)
        if len(self._young) >= self._half or self._young_bytes + size > self._half_bytes:
            self._old, self._young = self._young, {}
            self._young_bytes = 0
        self._young[key] = value
        self._young_bytes += size

    def drop(self, key: _Key) -> None:
        """Remove a key."""
        self._take_out(key)
        self._old.pop(key, None)

    def _take_out(self, key: _Key) -> None:
        former = self._young.pop(key, None)
        if former is not None:
            self._young_bytes -= self._size_of(key, former)

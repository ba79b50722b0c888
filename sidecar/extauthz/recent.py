"""A bounded memory at the price of a dict's lookup."""

from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """Holds what was used lately: half of ``capacity`` entries at least, all of it at most.

    In two generations: when the young one is full it becomes the old one, and what was old and
    nobody asked for meanwhile is gone. No order is kept, so nothing is moved when one is found.
    """

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)  # a capacity of one is one of two
        self._young: dict[_Key, _Value] = {}
        self._old: dict[_Key, _Value] = {}

    def get(self, key: _Key) -> _Value | None:
        """Return what is held for a key, None where nothing is."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: _Key, value: _Value) -> None:
        """Hold a value, which is not None."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def drop(self, key: _Key) -> None:
        """Hold nothing for a key any more."""
        self._young.pop(key, None)
        self._old.pop(key, None)

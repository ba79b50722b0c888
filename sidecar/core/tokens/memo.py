"""A cache of values computed from lists of texts, bounded in bytes."""

from typing import Final, Generic, TypeVar

_Value = TypeVar("_Value")

ITEM_BYTES: Final = 110  # of a text and its place in a list and in a set, beside its characters


class Memo(dict[tuple[str, ...], _Value], Generic[_Value]):
    """Values by the list that each was computed from; emptied when ``max_bytes`` are reached.

    So finding a value costs only a dict's look-up. ``bytes`` is an estimate.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        self.bytes = 0

    def keep(self, items: tuple[str, ...], value: _Value) -> None:
        """Remember a value, unless it would fill the memory by itself."""
        size = sum(map(len, items)) + ITEM_BYTES * (len(items) + 1)
        if self.bytes + size > self.max_bytes:
            self.forget()
        if size <= self.max_bytes:
            self[items] = value
            self.bytes += size

    def forget(self) -> None:
        """Remember nothing any more."""
        self.clear()
        self.bytes = 0

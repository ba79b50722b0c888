"""A cache of answers to look-ups, bounded in bytes."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from sys import getsizeof
from typing import Any, Final, TypeVar

from sidecar.core.tokens.lookups import Answer

_Key = TypeVar("_Key", bound=Hashable)

ENTRY_BYTES: Final = 700
"""Of an entry, its answer and its places in the tables, beside what they hold."""

_ITEM_BYTES: Final = 16  # a place in a list, or in an object


class Entry:
    """What is known of one question; times are of the steady clock.

    ``answer`` is None where the look-up only failed. ``token`` is what a further look-up sends.
    A use before ``look_at`` is not noted. From ``refresh_at`` one begins the next look-up; before
    ``retry_at`` there is none, since the last one failed.
    """

    __slots__ = ("answer", "failures", "look_at", "refresh_at", "retry_at", "size", "token")

    def __init__(self, answer: Answer | None, token: bytes) -> None:
        self.answer = answer
        self.token = token
        self.look_at = 0.0
        self.refresh_at = float("inf")
        self.retry_at = 0.0
        self.failures = 0
        self.size = 0


class AnswerCache(OrderedDict[_Key, Entry]):
    """Entries by question; beyond ``max_bytes`` the one goes that was not used for longest.

    ``move_to_end`` notes a use; ``get`` does not.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes
        self.bytes = 0

    def put(self, key: _Key, entry: Entry) -> None:
        """Add an entry, in place of a former one."""
        self.drop(key)
        held = None if entry.answer is None else entry.answer.value
        entry.size = ENTRY_BYTES + getsizeof(key) + getsizeof(entry.token) + size_of(held)
        self[key] = entry
        self.bytes += entry.size
        while self.bytes > self._max_bytes:
            self.drop(next(iter(self)))

    def drop(self, key: _Key) -> None:
        """Remove an entry, if there is one."""
        entry = self.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size


def size_of(value: Any) -> int:
    """Estimate the memory of a JSON value, in bytes. Its depth is bounded."""
    if isinstance(value, Mapping):
        parts = sum(size_of(part) for pair in value.items() for part in pair)
        return getsizeof(value) + parts + 2 * _ITEM_BYTES * len(value)
    if isinstance(value, list | tuple):
        return getsizeof(value) + sum(map(size_of, value)) + _ITEM_BYTES * len(value)
    return getsizeof(value)

"""Tokens that were verified before."""

from typing import TypeVar

from cachetools import Cache, LRUCache

from sidecar.core.tokens import Verified

_Default = TypeVar("_Default")


class TokenCache(LRUCache[bytes, Verified]):
    """Verified tokens by the SHA-256 of the whole token, bounded, with its hits and misses counted.

    How long an entry may be relied on is checked at each hit by ``core.tokens.recheck``, not here.
    """

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries)
        self.hits = 0
        self.misses = 0

    def get(self, digest: bytes, default: _Default = None) -> Verified | _Default:  # type: ignore[assignment]  # -- the stub's overloads say the same at length
        """Look a token up and count it."""
        try:
            found = self[digest]
        except KeyError:
            self.misses += 1
            return default
        self.hits += 1
        return found

    def peek(self, digest: bytes) -> Verified | None:
        """Look a token up, neither counting it nor keeping it for longer."""
        try:
            return Cache.__getitem__(self, digest)
        except KeyError:
            return None

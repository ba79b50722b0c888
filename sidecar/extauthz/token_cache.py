"""A cache of verified tokens."""

from collections import OrderedDict
from typing import TypeVar

from sidecar.core.tokens.verify import Verified
from sidecar.extauthz.memory import of_part, of_token

_Default = TypeVar("_Default")


_peek = OrderedDict.get  # looked up once: it is called for each request


class TokenCache(OrderedDict[bytes, Verified]):
    """Verified tokens by the SHA-256 of the whole token, with their hits and misses counted.

    At most ``max_entries`` and ``max_bytes``; the entry that was not used for the longest time goes
    first. ``bytes`` is their estimated size, in which a list of permissions that many entries share
    counts once. ``core.tokens.verify.recheck`` checks at each hit whether an entry is still valid.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        super().__init__()
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        # By the identity of a shared part: how many entries have it, and its size.
        self._parts: dict[int, tuple[int, int]] = {}

    def get(self, digest: bytes, default: _Default = None) -> Verified | _Default:  # type: ignore[assignment]  # -- the stub's overloads say the same at length
        """Look a token up and count it."""
        found = _peek(self, digest)
        if found is None:
            self.misses += 1
            return default
        self.hits += 1
        self.move_to_end(digest)
        return found

    def peek(self, digest: bytes) -> Verified | None:
        """Look a token up without counting it or marking it as used."""
        return _peek(self, digest)

    def __setitem__(self, digest: bytes, verified: Verified) -> None:
        if digest in self:
            del self[digest]
        super().__setitem__(digest, verified)
        size, parts = of_token(verified)
        for part in parts:
            entries, of_this = self._parts.get(id(part), (0, 0))
            if not entries:
                of_this = of_part(part, verified)
                size += of_this
            self._parts[id(part)] = entries + 1, of_this
        self.bytes += size
        while self.bytes > self.max_bytes or len(self) > self.max_entries:
            del self[next(iter(self))]

    def __delitem__(self, digest: bytes) -> None:
        verified = self[digest]
        super().__delitem__(digest)
        size, parts = of_token(verified)
        for part in parts:
            entries, of_this = self._parts.pop(id(part))
            if entries > 1:
                self._parts[id(part)] = entries - 1, of_this
            else:
                size += of_this
        self.bytes -= size

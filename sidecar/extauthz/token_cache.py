"""A cache of verified tokens."""

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from typing import TypeAlias, TypeVar

from sidecar.core.tokens.verify import Verified
from sidecar.extauthz.memory import Part, of_part, of_token

_Default = TypeVar("_Default")

_Entry: TypeAlias = tuple[Verified, int, list[Part]]  # with its size without the shared parts


class TokenCache(MutableMapping[bytes, Verified]):
    """Verified tokens by the SHA-256 of the whole token.

    At most ``max_entries`` and ``max_bytes``; the entry that was not used for the longest time goes
    first. ``bytes`` is their estimated size, in which a list of permissions that many entries share
    counts once. ``core.tokens.verify.recheck`` checks at each hit whether an entry is still valid.
    ``hit`` says whether a token was found since it was set to None, which means that none was
    looked up.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hit: bool | None = None
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._peek = self._entries.get
        # By the identity of a shared part: how many entries have it, and its size.
        self._parts: dict[int, list[int]] = {}

    def get(self, digest: bytes, default: _Default = None) -> Verified | _Default:  # type: ignore[assignment]  # -- the stub's overloads say the same at length
        """Look a token up and note whether it was found."""
        found = self._peek(digest)
        if found is None:
            self.hit = self.hit or False
            return default
        self.hit = True
        self._entries.move_to_end(digest)
        return found[0]

    def peek(self, digest: bytes) -> Verified | None:
        """Look a token up without noting it or marking it as used."""
        found = self._peek(digest)
        return None if found is None else found[0]

    def __getitem__(self, digest: bytes) -> Verified:
        return self._entries[digest][0]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __setitem__(self, digest: bytes, verified: Verified) -> None:
        entries = self._entries
        if digest in entries:
            del self[digest]
        size, parts = of_token(verified)
        entries[digest] = verified, size, parts
        for part in parts:
            shared = self._parts.get(id(part))
            if shared is None:
                shared = self._parts[id(part)] = [0, of_part(part, verified)]
                size += shared[1]
            shared[0] += 1
        self.bytes += size
        while self.bytes > self.max_bytes or len(entries) > self.max_entries:
            self._discount(entries.popitem(last=False)[1])

    def __delitem__(self, digest: bytes) -> None:
        self._discount(self._entries.pop(digest))

    def _discount(self, entry: _Entry) -> None:
        """Count an entry no more that was taken out."""
        _, size, parts = entry
        for part in parts:
            shared = self._parts[id(part)]
            shared[0] -= 1
            if not shared[0]:
                del self._parts[id(part)]
                size += shared[1]
        self.bytes -= size

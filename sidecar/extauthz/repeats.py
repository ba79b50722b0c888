"""Checks that repeat an allowed one: the same bytes except for the fields that always differ.

Clients send the same request again and again. The decision depends only on the request, the
snapshot and, with a token, the time: if none of these differs, it need not be made again.
A snapshot has its own ``Repeats``; core says for how long an allow is valid
(``sidecar.core.validity``).
"""

import secrets
from dataclasses import dataclass
from struct import Struct

from sidecar.core.decision import Allow
from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.validity import UNKNOWN, Validity
from sidecar.extauthz import memory
from sidecar.extauthz.bounds import MalformedCheckError
from sidecar.extauthz.envelope import Envelope, open_envelope, principal_of, read_outline
from sidecar.extauthz.two_generations import SizedTwoGenerationCache, TwoGenerationCache

MAX_REMEMBERED = 500  # requests
MAX_BYTES = 4096  # of one CheckRequest

# How Envoy's CheckRequest begins: attributes (source, destination, request (time, http (id, of its
# stream))). Attributes, request and http are entered. The others are skipped, since they differ
# each time and no decision depends on them.
# Five bytes: an entered field's tag and length, and the tag and the length of the first field in
# it. The mask leaves the two tags, and that the first length takes two bytes.
_begin = Struct("<IB").unpack_from
_MASK = 0xFF8080FF
_BEGINNINGS = (0x0A00800A, 0x0A008022, 0x0A008012)
_DESTINATION = 0x12
_SHORT = 0x7F  # the largest varint of one byte

_HEADER_BYTES = 250  # of a name and its values as objects, beside their characters

_ID_BYTES = 36  # a UUID, as Envoy makes them for x-request-id
# Its entry in a HeaderMap up to its value, in protobuf's wire format.
_BEFORE_ID = b"\x0a\x34\x0a\x0cx-request-id\x1a\x24"

RepeatKey = tuple[bytes, bytes, tuple[int, ...], str]
"""The bytes before the id (without the beginning), those after it, the entered fields' ends, and
the peer's identity where a route depends on it."""


def identify(message: bytes) -> tuple[RepeatKey, bytes] | None:
    """Return the key of a request, and its id: the bytes after the last match of its entry's start.

    The key has no peer: see ``of_peer``. None without an id, for a large request, and for a message
    that Envoy would not send.
    """
    size = len(message)
    if size > MAX_BYTES:
        return None
    start = message.rfind(_BEFORE_ID) + len(_BEFORE_ID)
    end = start + _ID_BYTES
    if start < len(_BEFORE_ID) or end > size:
        return None
    # The lengths of what is entered take two bytes, those of the two peers may. This is done for
    # every Check, so it has few steps, and no loop.
    entered_1, length = _begin(message)
    after = 5 + length if length <= _SHORT else _after(message, 4)
    if after > start or message[after] != _DESTINATION:
        return None
    length = message[after + 1]
    after = after + 2 + length if length <= _SHORT else _after(message, after + 1)
    if after > start:
        return None
    entered_2, length_2 = _begin(message, after)
    end_2 = size - after - 3
    after += 5 + length_2
    if after > start:
        return None
    entered_3, length_3 = _begin(message, after)
    end_3 = size - after - 3
    after += 5 + length_3
    if (
        (entered_1 & _MASK, entered_2 & _MASK, entered_3 & _MASK) != _BEGINNINGS
        or length_2 | length_3 > _SHORT
        or after > start
    ):
        return None
    ends = (
        size - 3 - (entered_1 >> 8 & 0x7F) - (entered_1 >> 9 & 0x3F80),
        end_2 - (entered_2 >> 8 & 0x7F) - (entered_2 >> 9 & 0x3F80),
        end_3 - (entered_3 >> 8 & 0x7F) - (entered_3 >> 9 & 0x3F80),
    )
    return (message[after:start], message[end:], ends, ""), message[start:end]


def _after(message: bytes, position: int) -> int:
    """Return where a field ends whose length takes two bytes; the end of all if it takes more."""
    low, high = message[position : position + 2]
    return position + 2 + low + (high - 1 << 7) if high <= _SHORT else len(message)


def of_peer(key: RepeatKey, message: bytes) -> RepeatKey:
    """Return the key with the identity of the message's peer. Raises MalformedCheckError."""
    before, after, ends, _ = key
    return before, after, ends, principal_of(read_outline(message).source)


@dataclass(slots=True)
class Repeat:
    """A request that was allowed, and its answer before and after the decision id.

    ``validity`` is by ``snapshot``, and as long as ``LookUps.changes`` is ``changes``.
    """

    request: Request
    decision: Allow
    before_id: bytes
    after_id: bytes
    validity: Validity = UNKNOWN
    snapshot: Snapshot | None = None
    changes: int = 0


def _size_of(key: RepeatKey, repeat: Repeat) -> int:
    """Return the size of an entry: the message, what was read of it, its token and its answer.

    The token counts in full: this may be the only reference to it.
    """
    before, after, _, _ = key
    read = len(before) + len(after) + _HEADER_BYTES * len(repeat.request.headers)
    size = memory.PLACE + len(before) + len(after) + read
    size += len(repeat.before_id) + len(repeat.after_id)
    for verified in repeat.decision.tokens():
        of_token, parts = memory.of_token(verified)
        size += of_token + sum([memory.of_part(part, verified) for part in parts])
    return size


class Repeats(SizedTwoGenerationCache[RepeatKey, Repeat]):
    """Requests that were allowed under one snapshot, at most ``capacity`` of them."""

    def __init__(self, capacity: int) -> None:
        super().__init__(min(capacity, MAX_REMEMBERED), memory.REPEATS, _size_of)
        # hashes of requests that came once
        self._met: TwoGenerationCache[int, bool] = TwoGenerationCache(MAX_REMEMBERED)
        self._unguessable = secrets.token_hex(_ID_BYTES // 2).encode()

    def note(
        self, key: RepeatKey, message: bytes, envelope: Envelope, decision: Allow, answer: bytes
    ) -> None:
        """Remember an allowed request when it is seen for the second time.

        The bytes that were cut out must be the whole value of the only x-request-id. So the message
        is read again with another id there, which no client can guess: exactly the id must differ.
        """
        mark = hash(key)
        if self._met.get(mark) is None:
            self._met.put(mark, True)
            return
        _, after, ends, _ = key
        # The id is inside every entered field. Otherwise the skipped bytes may matter, for protobuf
        # merges fields that are repeated.
        if not 0 <= ends[0] <= ends[1] <= ends[2] <= len(after):
            return
        end = len(message) - len(after)
        other = message[: end - _ID_BYTES] + self._unguessable + message[end:]
        try:
            with_peer = envelope.request.peer != ""
            read = open_envelope(read_outline(other), with_peer=with_peer)
        except MalformedCheckError:
            return
        if read != (envelope.request, [self._unguessable]):
            return
        around = answer.split(envelope.request_id.encode()) if envelope.request_id else ()
        if len(around) == 2:  # a client may put the id elsewhere too
            before, after = around
            self.put(key, Repeat(envelope.request, decision, before, after))

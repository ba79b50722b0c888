"""Checks that repeat an allowed one: the same bytes except for the fields that always differ.

Clients send the same request again and again. The decision depends only on the request, the
snapshot and, with a token, the time: if none of these differs, it need not be made again.
A snapshot has its own ``Repeats``; core checks every time whether an allow
is ``still_valid``.
"""

import secrets
from dataclasses import dataclass

from sidecar.core.decision import Allow
from sidecar.core.request import Request
from sidecar.extauthz import memory
from sidecar.extauthz.bounds import MalformedCheckError
from sidecar.extauthz.envelope import Envelope, open_envelope, principal_of, read_outline
from sidecar.extauthz.two_generations import SizedTwoGenerationCache, TwoGenerationCache

MAX_REMEMBERED = 500  # requests
MAX_BYTES = 4096  # of one CheckRequest

# The beginning of Envoy's CheckRequest, in this order: fields that are entered, and fields that are
# skipped, since they differ each time and no decision depends on them.
_BEGINNING = (
    (0x0A, True),  # attributes
    (0x0A, False),  # source
    (0x12, False),  # destination
    (0x22, True),  # request
    (0x0A, False),  # time
    (0x12, True),  # http
    (0x0A, False),  # id, of Envoy's stream
)
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
    position = 0
    ends: list[int] = []
    for tag, entered in _BEGINNING:
        if message[position] == tag:
            length = message[position + 1]
            position += 2
            if length > _SHORT:
                more = message[position]
                if more > _SHORT:
                    return None
                length += (more - 1) << 7
                position += 1
            if entered:
                ends.append(size - position - length)
            else:
                position += length
            if position > start:
                return None
        elif entered:
            return None
    return (message[position:start], message[end:], tuple(ends), ""), message[start:end]


def of_peer(key: RepeatKey, message: bytes) -> RepeatKey:
    """Return the key with the identity of the message's peer. Raises MalformedCheckError."""
    before, after, ends, _ = key
    return before, after, ends, principal_of(read_outline(message).source)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A request that was allowed, and its answer before and after the decision id."""

    request: Request
    decision: Allow
    before_id: bytes
    after_id: bytes


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
            self.put(key, Repeat(envelope.request, decision, *around))

"""Checks that repeat one that was allowed: the same bytes, but for Envoy's ``x-request-id``.

Clients ask for the same thing again and again. What they may is decided by the request, the
snapshot and, for a token, the time: where none of these differs, nothing has to be decided again.
A snapshot has its own ``Repeats``; whether an allow still ``stands`` is asked of core every time.
"""

import secrets
from typing import NamedTuple

from sidecar.core.decision import Allow
from sidecar.core.request import Request
from sidecar.extauthz.envelope import Envelope, Headers, MalformedCheckError, add_raw
from sidecar.extauthz.recent import Recent
from sidecar.pb.ext_authz_pb2 import AttributeContextOutline

MAX_REMEMBERED = 500  # requests, with a header map
MAX_BYTES = 4096  # of at most so many bytes each

_ID_BYTES = 36  # a UUID, as Envoy makes them
# The id's entry in a HeaderMap up to its value, in protobuf's wire format.
_BEFORE_ID = b"\x0a\x34\x0a\x0cx-request-id\x1a\x24"

RepeatKey = tuple[str, str, bytes, bytes]
"""Method, host, and the header map before and after the id."""


def identify(http: AttributeContextOutline.HttpRequest) -> tuple[RepeatKey, bytes] | None:
    """Return what a request is known by, and its id: what follows the last thing like its entry.

    None for a request without one, for a large one, and for headers as text: Envoy sends those
    instead of a header map.
    """
    header_maps = http.header_map
    if len(header_maps) != 1 or http.headers:
        return None
    block = header_maps[0]
    start = block.rfind(_BEFORE_ID) if len(block) <= MAX_BYTES else -1
    if start < 0:
        return None
    start += len(_BEFORE_ID)
    end = start + _ID_BYTES
    if end > len(block):
        return None
    return (http.method, http.host, block[:start], block[end:]), block[start:end]


class Repeat(NamedTuple):
    """A request that was allowed, and its answer before and after the decision id."""

    request: Request
    decision: Allow
    before_id: bytes
    after_id: bytes


class Repeats(Recent[RepeatKey, Repeat]):
    """Requests that were allowed under one snapshot, at most ``capacity`` of them."""

    def __init__(self, capacity: int) -> None:
        super().__init__(min(capacity, MAX_REMEMBERED))
        self._met: Recent[int, bool] = Recent(MAX_REMEMBERED)  # hashes of those that came once
        self._unguessable = secrets.token_hex(_ID_BYTES // 2).encode()

    def note(self, key: RepeatKey, envelope: Envelope, decision: Allow, answer: bytes) -> None:
        """Remember a request that was allowed, when it comes for the second time.

        For the bytes that were cut out to be the id, whatever they are, they must be the value of
        the one x-request-id. So the header map is read with another id there, which no client can
        know: it must come out as that, all of it and nothing more.
        """
        mark = hash(key)
        if self._met.get(mark) is None:
            self._met.put(mark, True)
            return
        _, _, before, after = key
        headers: Headers = {}
        try:
            add_raw(before + self._unguessable + after, headers)
        except MalformedCheckError:
            return
        if headers.get("x-request-id") != [self._unguessable]:
            return
        around = answer.split(envelope.request_id.encode()) if envelope.request_id else ()
        if len(around) == 2:  # an id may stand elsewhere too, if a client wants it to
            self.put(key, Repeat(envelope.request, decision, *around))

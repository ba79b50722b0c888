"""The Check service where ``tracing`` is configured: it keeps what a caller says of its trace.

The transport hands on what Envoy sends with the call: Envoy's own span. Without it, the request's
headers count, which Envoy passes on as the client sent them.
"""

import time
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from sidecar.core.decision import Allow
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import (
    Ended,
    NeedsKey,
    NeedsPermissions,
    NeedsVerdict,
    Question,
)
from sidecar.core.traced import MAX_TRACESTATE, TRACEPARENT_BYTES, Traced, TracedLookUp
from sidecar.extauthz.asking import Asking
from sidecar.extauthz.bounds import MalformedCheckError
from sidecar.extauthz.envelope import Envelope, open_envelope, read_outline
from sidecar.extauthz.repeats import MAX_BYTES, RepeatKey, Repeats, identify
from sidecar.extauthz.service import CHECK, CheckService
from sidecar.transport.interface import Methods, TraceHeaders

TRACEPARENT: Final = "traceparent"

# The beginning of a header's entry up to the value's tag, in protobuf's wire format.
_PARENT_NAME: Final = b"\x0a\x0b" + TRACEPARENT.encode()
_STATE_NAME: Final = b"\x0a\x0atracestate"
_VALUE_TAGS: Final = b"\x12\x1a"  # value or raw_value
# A whole entry of a HeaderMap up to a value of TRACEPARENT_BYTES.
_ENTRY: Final = b"\x0a\x46" + _PARENT_NAME + b"\x1a\x37"
_BLANK: Final = b"0" * TRACEPARENT_BYTES
_OTHER: Final = b"1" * TRACEPARENT_BYTES

_NAMES: Final[Mapping[type, str]] = {
    NeedsKey: "key",
    NeedsPermissions: "permissions",
    NeedsVerdict: "verdict",
}

# A task that waits for a look-up keeps the trace of its own Check: tasks copy the context.
_current: ContextVar[Traced | None] = ContextVar("traced", default=None)


class _TimedAsking(Asking):
    """Asks as its base does, and notes how long a Check waited where its trace is sampled."""

    async def _end_of(
        self, ended: Awaitable[Ended], question: Question, deadline: float | None
    ) -> Ended:
        traced = _current.get()
        if traced is None or not traced.may_be_sampled:
            return await super()._end_of(ended, question, deadline)
        wall, start, result = time.time(), time.monotonic(), Ended.FAILED
        try:
            result = await super()._end_of(ended, question, deadline)
            return result
        finally:
            seconds, name = time.monotonic() - start, _NAMES[type(question)]
            traced.look_ups.append(TracedLookUp(name, wall, seconds, result is Ended.ANSWERED))


class TracedCheckService(CheckService):
    """Answers Checks and records the trace of each; takes what ``CheckService`` takes."""

    _asks = _TimedAsking

    def swap(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on."""
        super().swap(snapshot)
        sources = (*snapshot.token_sources, *snapshot.service_token_sources)
        if all(source.name != TRACEPARENT for source in sources):
            # No decision depends on it, and it differs each time.
            self._identify = _identify
            self._repeats = _Repeats(self._settings.cached_tokens)
        else:
            self._identify = identify

    def methods(self) -> Methods:
        """Return the methods for a transport."""
        methods = super().methods()
        check = methods.unary[CHECK]

        def traced(
            message: bytes, deadline: float | None, headers: TraceHeaders | None
        ) -> bytes | Awaitable[bytes]:
            _current.set(_sent(message) if headers is None else Traced(*headers))
            return check(message, deadline)

        return methods._replace(unary={}, traced={CHECK: traced})

    def _record_later(self, *about: Any, cached: bool | None) -> None:
        self._traced = _current.get()
        super()._record_later(*about, cached=cached)


class _Repeats(Repeats):
    """Requests that repeat an allowed one apart from their trace."""

    def note(
        self, key: RepeatKey, message: bytes, envelope: Envelope, decision: Allow, answer: bytes
    ) -> None:
        """Remember an allowed request, once what is cut out is the whole of that one header."""
        start = _place(message)
        if start is None or _is_whole_header(message, start, envelope):
            super().note(key, message, envelope, decision, answer)


def _is_whole_header(message: bytes, start: int, envelope: Envelope) -> bool:
    request = envelope.request
    end = start + TRACEPARENT_BYTES
    if request.headers.get(TRACEPARENT) != [message[start:end]]:
        return False
    other = message[:start] + _OTHER + message[end:]
    try:
        read = open_envelope(read_outline(other), with_peer=request.peer != "")
    except MalformedCheckError:
        return False
    headers = {**request.headers, TRACEPARENT: [_OTHER]}
    return read == (request._replace(headers=headers), envelope.request_ids)


def _place(message: bytes) -> int | None:
    """Return where the last value of the header begins that is as long as usual.

    None without one, and for a message that is too large to be remembered.
    """
    if len(message) > MAX_BYTES:
        return None
    found = message.rfind(_ENTRY)
    start = found + len(_ENTRY)
    return start if found >= 0 and start + TRACEPARENT_BYTES <= len(message) else None


def _identify(message: bytes) -> tuple[RepeatKey, bytes] | None:
    start = _place(message)
    if start is None:
        return identify(message)
    return identify(message[:start] + _BLANK + message[start + TRACEPARENT_BYTES :])


def _sent(message: bytes) -> Traced | None:
    """Return what a request's own headers say, which need not be valid."""
    parent = _value(message, _PARENT_NAME)
    return Traced(parent, _value(message, _STATE_NAME)) if parent else None


def _value(message: bytes, name: bytes) -> bytes:
    """Return a header's value without reading the message: its last one, empty if there is none."""
    found = message.rfind(name)
    at = found + len(name)
    if found < 0 or at + 2 >= len(message) or message[at] not in _VALUE_TAGS:
        return b""
    length = message[at + 1]
    start = at + 2
    if length > 0x7F:
        length += (message[start] - 1) << 7
        start += 1
    return message[start : start + length] if length <= MAX_TRACESTATE else b""

"""The Check service where ``tracing`` is configured: it keeps what a caller says of its trace.

The transport hands on what Envoy sends with the call: Envoy's own span. Without it, the request's
headers count, which Envoy passes on as the client sent them.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from sidecar.core.decision import Allow, Decision, Needs
from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import (
    Ended,
    NeedsKey,
    NeedsPermissions,
    NeedsVerdict,
    Question,
)
from sidecar.core.traced import MAX_TRACESTATE, TRACEPARENT_BYTES, Traced, TracedLookUp, sent
from sidecar.extauthz.asking import Asking, Begun
from sidecar.extauthz.bounds import MalformedCheckError
from sidecar.extauthz.envelope import Envelope, open_envelope, read_outline
from sidecar.extauthz.in_progress import CheckInProgress
from sidecar.extauthz.repeats import MAX_BYTES, RepeatKey, Repeats, identify
from sidecar.extauthz.service import CHECK, CheckService
from sidecar.transport.interface import Methods

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

# The trace of the Check that the current task is for, and its look-ups.
_of_this_check: ContextVar[tuple[Traced | None, list[TracedLookUp]]] = ContextVar("of_this_check")


class _TimedAsking(Asking):
    """Asks as its base does, and notes how long a Check waited for each answer."""

    async def _end_of(
        self, ended: Awaitable[Ended | bool], question: Question, deadline: float | None
    ) -> Ended:
        wall, start, result = time.time(), time.monotonic(), Ended.FAILED
        try:
            result = await super()._end_of(ended, question, deadline)
            return result
        finally:
            seconds, name = time.monotonic() - start, _NAMES.get(type(question), "answer")
            answered = result is Ended.ANSWERED
            _of_this_check.get()[1].append(TracedLookUp(name, wall, seconds, answered))


class TracedCheckService(CheckService):
    """Answers Checks and records the trace of each; takes what ``CheckService`` takes."""

    _asks = _TimedAsking

    def swap(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on."""
        super().swap(snapshot)
        sources = (*snapshot.token_sources, *snapshot.service_token_sources)
        # Else no decision depends on the header, and it differs each time.
        self._cuts = all(source.name != TRACEPARENT for source in sources)
        if self._cuts:
            self._repeats = _Repeats(self._settings.cached_tokens)

    def methods(self) -> Methods:
        """Return the methods for a transport."""
        methods = super().methods()
        check = methods.unary[CHECK]

        def traced(
            message: bytes, deadline: float | None, sent: Traced | None
        ) -> bytes | Awaitable[bytes]:
            self._traced = _in_headers(message) if sent is None else sent
            return check(message, deadline)

        return methods._replace(unary={}, traced={CHECK: traced})

    def _judge(self, check: CheckInProgress, key: RepeatKey | None) -> bytes | Awaitable[bytes]:
        """Answer a Check that repeats none unless its trace is left out."""
        try:
            place = _place(check.message) if self._cuts and key is not None else None
            if key is not None and place is not None:
                identified = identify(_without(check.message, place, _BLANK))
                if identified is not None:
                    key, own_id = identified[0][:3] + key[3:], identified[1]
                    answer = self._repeat(check.message, check.started, key, own_id)
                    if answer is not None:
                        return answer
        except Exception as error:  # noqa: BLE001 -- an exception may be an allow to Envoy
            return self._fail(check, error)
        return super()._judge(check, key)

    def _wait(
        self, check: CheckInProgress, request: Request, needs: Needs, begun: Begun
    ) -> Coroutine[Any, Any, bytes]:
        return self._within(self._traced, partial(super()._wait, check, request, needs, begun))

    @staticmethod
    async def _within(traced: Traced | None, wait: Callable[[], Awaitable[bytes]]) -> bytes:
        """Wait for an answer; tasks copy the context, so this is known in this task only."""
        _of_this_check.set((traced, []))
        return await wait()

    async def _decided(
        self, check: CheckInProgress, request: Request, needs: Needs, begun: Begun
    ) -> Decision:
        """Wait for a decision; its trace is that of the Check, which is recorded then."""
        try:
            return await super()._decided(check, request, needs, begun)
        finally:
            traced, look_ups = _of_this_check.get()
            self._traced = traced and traced._replace(look_ups=tuple(look_ups))


class _Repeats(Repeats):
    """Requests that repeat an allowed one apart from their trace."""

    def note(
        self, key: RepeatKey, message: bytes, envelope: Envelope, decision: Allow, answer: bytes
    ) -> None:
        """Remember an allowed request, once what is cut out is the whole of that one header."""
        place = _place(message)
        if place is None or _is_whole_header(message, place, envelope):
            super().note(key, message, envelope, decision, answer)


def _is_whole_header(message: bytes, place: int, envelope: Envelope) -> bool:
    request = envelope.request
    value = message[place : place + TRACEPARENT_BYTES]
    if request.headers.get(TRACEPARENT) != [value]:
        return False
    try:
        outline = read_outline(_without(message, place, _OTHER))
        read = open_envelope(outline, with_peer=request.peer != "")
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
    place = found + len(_ENTRY)
    return place if found >= 0 and place + TRACEPARENT_BYTES <= len(message) else None


def _without(message: bytes, place: int, instead: bytes) -> bytes:
    return message[:place] + instead + message[place + TRACEPARENT_BYTES :]


def _in_headers(message: bytes) -> Traced | None:
    """Return what a request's own headers say, which need not be valid."""
    parent = _value(message, _PARENT_NAME)
    return sent(parent, _value(message, _STATE_NAME)) if parent else None


def _value(message: bytes, name: bytes) -> bytes:
    """Return a header's value without reading the message: its last one, empty if there is none."""
    found = message.rfind(name)
    at = found + len(name)
    if found < 0 or at + 3 >= len(message) or message[at] not in _VALUE_TAGS:
        return b""
    length = message[at + 1]
    start = at + 2
    if length > 0x7F:
        length += (message[start] - 1) << 7
        start += 1
    return message[start : start + length] if length <= MAX_TRACESTATE else b""

"""The trace that a Check belongs to: W3C Trace Context, https://www.w3.org/TR/trace-context/."""

import re
from typing import Final, NamedTuple

TRACEPARENT_BYTES: Final = 55  # of version 00: the only one so far
MAX_TRACEPARENT: Final = 256  # bytes; a later version may be longer than 55, and begins alike
MAX_TRACESTATE: Final = 512  # bytes; section 3.3.1.5: at least as many must be passed on

_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_STATE = re.compile(rb"[\x20-\x7e\t]*")
_ODD: Final = b"13579bdf"


class Parent(NamedTuple):
    """The span that a Check is a part of; ids are hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str


class TracedLookUp(NamedTuple):
    """A look-up that a Check waited for; ``start`` is in seconds since the epoch."""

    name: str
    start: float
    seconds: float
    answered: bool


class Traced(NamedTuple):
    """What a caller sent about its trace, unread: most of it is never read.

    ``look_ups`` are those that the Check waited for.
    """

    traceparent: bytes
    state: bytes = b""
    look_ups: tuple[TracedLookUp, ...] = ()

    @property
    def may_be_sampled(self) -> bool:
        """Whether the flag for it is there, if the rest is valid: a first look, which is cheap."""
        parent = self.traceparent
        return len(parent) >= TRACEPARENT_BYTES and parent[TRACEPARENT_BYTES - 1] in _ODD

    def parent(self) -> Parent | None:
        """Return the parent, None where what was sent is not valid."""
        if len(self.traceparent) > MAX_TRACEPARENT:
            return None
        found = _PARENT.fullmatch(self.traceparent)
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == b"00" and more is not None:
            return None
        valid = len(self.state) <= MAX_TRACESTATE and _STATE.fullmatch(self.state)
        return Parent(
            trace_id.decode(),
            span_id.decode(),
            bool(int(flags, 16) & 1),
            self.state.strip().decode() if valid else "",
        )

    @property
    def trace_id(self) -> str:
        """The id of the trace, empty where it is not valid."""
        parent = self.parent()
        return "" if parent is None else parent.trace_id


def sent(traceparent: bytes | None, state: bytes) -> Traced | None:
    """Return what a caller sent of its trace; what is too long is as if it were not sent."""
    if not traceparent or len(traceparent) > MAX_TRACEPARENT:
        return None
    return Traced(traceparent, state if len(state) <= MAX_TRACESTATE else b"")

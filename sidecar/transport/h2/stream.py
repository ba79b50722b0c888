"""One request and its answer (RFC 9113, section 5), and what the connection tells of it."""

from enum import Enum, auto

from sidecar.transport.h2.head import Head
from sidecar.transport.h2.limits import MAX_BUFFERED, MAX_MESSAGE


class Event(Enum):
    """What happened to a stream."""

    REQUEST = auto()  # its request is complete
    CANCELLED = auto()  # it is closed before its answer went out
    SENT = auto()  # what waited for a window has gone


class Budget:
    """The bytes of messages that are held for all connections of a server."""

    def __init__(self) -> None:
        self.held = 0


class Stream:
    """A stream that is open, or half-closed (remote) once its request is complete."""

    __slots__ = (
        "_budget", "_held", "body", "complete", "credit", "dropped", "ending", "head", "id",
        "pending", "received", "since", "unacknowledged",
    )  # fmt: skip

    def __init__(self, number: int, head: Head, budget: Budget, now: float) -> None:
        self.id = number
        self.head = head
        self.since: float | None = now  # when it began to wait for the peer, where it does
        self.complete = False
        # The request's body.
        self.body: bytes | bytearray = b""
        self.received = 0  # its bytes, the dropped ones too
        self.dropped = False  # it was too large to keep
        self.unacknowledged = 0  # bytes that no WINDOW_UPDATE gave back yet
        self._budget = budget
        self._held = 0
        # The answer.
        self.credit = 0  # its window less the peer's SETTINGS_INITIAL_WINDOW_SIZE (6.9.2)
        self.pending: memoryview | bytes = b""  # bytes of the body for which no window has room
        self.ending: bytes | None = None  # trailers to follow them; empty: END_STREAM with them

    def hold(self, octets: bytes) -> None:
        """Add to the body, or drop it all where it is too much."""
        if self.dropped:
            return
        if self.received > MAX_MESSAGE or self._budget.held + len(octets) > MAX_BUFFERED:
            self.dropped = True
            self.release()
            return
        if not self.body:
            self.body = bytearray()
        self.body += octets
        self._held += len(octets)
        self._budget.held += len(octets)

    def release(self) -> None:
        """Let go of the body."""
        self.body = b""
        self._budget.held -= self._held
        self._held = 0

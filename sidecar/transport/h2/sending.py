"""The sending half of a connection: answers, and the windows that they wait for (RFC 9113 5.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from struct import Struct

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.hpack import TABLE_OFF
from sidecar.transport.h2.limits import Limits
from sidecar.transport.h2.rpc import PREFIX, PREFIX_BYTES, RESPONSE, SUCCESS, Head
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError

# Our header blocks use no table; each says so, for a peer that has just shrunk its own must hear
# it in the next (RFC 7541 4.2).
_FIRST, _LAST = TABLE_OFF + RESPONSE, TABLE_OFF + SUCCESS
# A whole answer is HEADERS, DATA and HEADERS, of which only the stream and the message vary:
# type and length and flags, stream, block; length and type, flags, stream, the message's prefix.
_BEFORE = Struct(f">5sI{len(_FIRST)}sIBIBI")
_AFTER = Struct(f">5sI{len(_LAST)}s")
_FIRST_START = wire.frame(wire.HEADERS, wire.END_HEADERS, 0, _FIRST)[:5]
_LAST_START = wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 0, _LAST)[:5]


class Budget:
    """What the peers of a server may have, and the bytes that are held for all of them."""

    def __init__(self, allowed: Limits = limits.CHECKS) -> None:
        self.limits = allowed
        self.held = 0


@dataclass(slots=True, eq=False)
class Stream:
    """A request and its answer (5.1): open, or half-closed (remote) once it is ``complete``."""

    id: int
    head: Head
    deadline: float | None  # the caller's
    until: float  # for how long it waits for the peer
    # The request.
    complete: bool = False
    body: bytes | bytearray | None = b""  # None: it was too large to keep
    received: int = 0  # bytes of the body
    held: int = 0  # what counts against the budget: those that are kept, and the work on an answer
    # The answer.
    begun: bool = False
    credit: int = 0  # its window less the peer's SETTINGS_INITIAL_WINDOW_SIZE (6.9.2)
    pending: memoryview | bytes = b""  # messages for which no window has room
    ending: bytes | None = None  # the block that ends it: nothing can be added any more
    cancel: Callable[[], object] | None = None  # stops the work on it; the server's own


class Sending:
    """What is to be sent, and what may be sent yet."""

    def __init__(self, budget: Budget, now: float) -> None:
        self.streams: dict[int, Stream] = {}  # those that are open
        self._budget = budget
        self._limits = budget.limits
        self._held = 0  # bytes, by this connection
        self._settled = 0  # those of them that are not a stream's own
        self._work = 0  # that a frame made
        self._now = now
        self._frames: list[bytes] = []
        self._goaway: bytes | None = None  # what to say last: the connection is at its end
        self._blocked: dict[int, Stream] = {}  # those with bytes that no window has room for
        self.moved = False  # something that waited for a window has gone on: for the owner to clear
        self._window = self._initial = wire.DEFAULT_WINDOW
        self._max_frame = wire.LEAST_MAX_FRAME

    def take(self) -> bytes:
        """Return the bytes to be sent; to be called after serving what was returned."""
        if self._goaway:
            self._frames.append(self._goaway)
            self._goaway = b""
        taken = b"".join(self._frames)
        self._frames.clear()
        return taken

    def answer(self, stream: Stream, message: bytes) -> None:
        """Answer a unary call, all at once where the windows and the frame size have room."""
        size = len(message) + PREFIX_BYTES
        if size > self._window or size > self._initial + stream.credit or size > self._max_frame:
            self.send(stream, message)
            self.finish(stream, SUCCESS)
            return
        self._window -= size
        number = stream.id
        self._frames += (
            _BEFORE.pack(_FIRST_START, number, _FIRST, size << 8, 0, number, 0, len(message)),
            message,
            _AFTER.pack(_LAST_START, number, _LAST),
        )
        self._close(stream)

    def send(self, stream: Stream, message: bytes) -> None:
        """Send a message of an answer that goes on, as far as the windows have room."""
        if not stream.begun:
            stream.begun = True
            self._send_block(stream, 0, RESPONSE)
        stream.pending = memoryview(bytes(stream.pending) + PREFIX.pack(0, len(message)) + message)
        self._pump(stream)

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """End an answer once its messages have gone, unless it has ended already."""
        if stream.ending is None:
            stream.ending = trailers if stream.begun else RESPONSE + trailers
            self._pump(stream)

    def _refuse(self, stream: Stream, block: bytes, body: bytes) -> None:
        """Answer what is no gRPC."""
        if body:
            self._send_block(stream, 0, block)
        stream.pending = body
        stream.ending = b"" if body else block
        self._pump(stream)

    def _enlarge(self, stream: Stream | None, increment: int) -> None:
        """Take a WINDOW_UPDATE (6.9) of a stream, or of the connection: None."""
        broken = H2StreamError if stream else H2ConnectionError
        if not increment:
            raise broken("WINDOW_UPDATE of nothing")
        if stream is None:
            self._window = window = self._window + increment
        else:
            stream.credit += increment
            window = self._initial + stream.credit
        if window > wire.MAX_WINDOW:
            raise broken("a window over 2^31-1", ErrorCode.FLOW_CONTROL_ERROR)  # 6.9.1
        if stream is None:
            self._pump_all()
        elif stream.pending:
            self._pump(stream)

    def _set_initial_window(self, size: int) -> None:
        """Take SETTINGS_INITIAL_WINDOW_SIZE: it moves each stream's window (6.9.2)."""
        self._work += len(self.streams) // 16
        largest = max((stream.credit for stream in self.streams.values()), default=0)
        if size + max(largest, 0) > wire.MAX_WINDOW:
            raise H2ConnectionError("a window over 2^31-1", ErrorCode.FLOW_CONTROL_ERROR)
        self._initial = size

    def _pump_all(self) -> None:
        self._work += len(self._blocked)
        for stream in list(self._blocked.values()):
            if self._window <= 0:
                break
            self._pump(stream)

    def _pump(self, stream: Stream) -> None:
        """Send what the windows have room for, then what ends the answer."""
        while stream.pending:
            room = min(self._window, self._initial + stream.credit, self._max_frame)
            if room <= 0:
                if stream.id not in self._blocked:
                    self._blocked[stream.id] = stream
                    stream.until = self._now + limits.SEND_TIMEOUT
                return
            part, stream.pending = stream.pending[:room], stream.pending[room:]
            self._window -= len(part)
            stream.credit -= len(part)
            self._frames.append(wire.frame(wire.DATA, 0, stream.id, part))
            if self._blocked.pop(stream.id, None):  # it goes on: its time begins anew
                self.moved = True
        stream.until = inf
        if stream.ending is not None:
            self._send_block(stream, wire.END_STREAM, stream.ending)
            self._close(stream)

    def _send_block(self, stream: Stream, flags: int, block: bytes) -> None:
        flags |= wire.END_HEADERS
        self._frames.append(wire.frame(wire.HEADERS, flags, stream.id, TABLE_OFF + block))

    def _close(self, stream: Stream) -> None:
        """Forget a stream: it is answered, or reset."""
        del self.streams[stream.id]
        if self._blocked:
            self._blocked.pop(stream.id, None)
        stream.ending = b""
        if stream.held:
            self._release(stream)

    def wait(self, stream: Stream, cancel: Callable[[], object]) -> None:
        """Note that a request is being worked on, and what stops that."""
        stream.cancel = cancel
        held = limits.WAITING_BYTES + stream.received
        self._charge(held - stream.held)
        stream.held = held

    def _hold(self, stream: Stream, octets: bytes) -> None:
        """Add to a request's body, or drop it all where it is too much."""
        size = stream.held + len(octets)
        if size > self._limits.message or len(octets) > self._room():
            stream.body = None
            self._release(stream)
        elif stream.body is not None:
            stream.body = stream.body or bytearray()
            stream.body += octets
            stream.held = size
            self._charge(len(octets))

    def _room(self) -> int:
        """Return how many bytes more may be held."""
        allowed, held = self._limits, self._held
        shared = max(allowed.share - held, allowed.held - self._budget.held)
        return max(0, min(allowed.connection_held - held, shared))

    def _charge(self, octets: int) -> None:
        self._held += octets
        self._budget.held += octets

    def _release(self, stream: Stream) -> None:
        self._charge(-stream.held)
        stream.held = 0

"""The sending half of a connection: answers, flow control (RFC 9113 5.2), what waits for it."""

from struct import Struct

from sidecar.transport.h2 import wire
from sidecar.transport.h2.answers import PREFIX, PREFIX_BYTES, RESPONSE, TRAILERS
from sidecar.transport.h2.hpack import TABLE_OFF
from sidecar.transport.h2.stream import Event, Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError

DEFAULT_WINDOW = 65_535  # 6.9.2
DEFAULT_MAX_FRAME = 16_384  # 6.5.2

# A whole answer is HEADERS, DATA and HEADERS, of which only the stream and the message vary:
# type and length and flags, stream, block; length and type, flags, stream, the message's prefix.
_BEFORE = Struct(f">5sI{len(RESPONSE)}sIBIBI")
_AFTER = Struct(f">5sI{len(TRAILERS)}s")
_RESPONSE_FRAME = wire.frame(wire.HEADERS, wire.END_HEADERS, 0, RESPONSE)[:5]
_TRAILERS_FRAME = wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 0, TRAILERS)[:5]


class Outgoing:
    """What is to be sent, and what may be sent yet."""

    def __init__(self, streams: dict[int, Stream], events: list[tuple[Event, Stream]]) -> None:
        self.frames: list[bytes] = []
        self.blocked: dict[int, Stream] = {}  # those with bytes that no window has room for
        self.max_frame = DEFAULT_MAX_FRAME
        self.table_off_due = False  # the peer shrank our table: the next block must say so
        self._streams = streams
        self._events = events
        self._window = DEFAULT_WINDOW
        self._initial = DEFAULT_WINDOW

    def answer(self, stream: Stream, message: bytes) -> None:
        """Answer a unary call, all at once where the windows and the frame size have room."""
        size = len(message) + PREFIX_BYTES
        if (
            size > self._window
            or size > self._initial + stream.credit
            or size > self.max_frame
            or self.table_off_due
        ):
            self.begin(stream, RESPONSE)
            self.send(stream, message)
            self.finish(stream, TRAILERS)
            return
        self._window -= size
        number = stream.id
        self.frames += (
            _BEFORE.pack(_RESPONSE_FRAME, number, RESPONSE, size << 8, 0, number, 0, len(message)),
            message,
            _AFTER.pack(_TRAILERS_FRAME, number, TRAILERS),
        )
        self.end(stream)

    def begin(self, stream: Stream, block: bytes) -> None:
        """Send the header block of an answer that goes on."""
        self._headers(stream, wire.END_HEADERS, block)

    def send(self, stream: Stream, message: bytes) -> None:
        """Send a message, as far as the windows have room."""
        stream.pending = memoryview(bytes(stream.pending) + PREFIX.pack(0, len(message)) + message)
        self._pump(stream)

    def plain(self, stream: Stream, block: bytes, body: bytes) -> None:
        """Answer what is no gRPC; without a body the block alone."""
        if not body:
            self.finish(stream, block)
            return
        self.begin(stream, block)
        stream.pending = memoryview(body)
        stream.ending = b""
        self._pump(stream)

    def finish(self, stream: Stream, block: bytes) -> None:
        """End an answer by trailers, once its body has gone."""
        stream.ending = block
        self._pump(stream)

    def end(self, stream: Stream) -> None:
        """Forget a stream that is closed."""
        self._streams.pop(stream.id, None)
        self.blocked.pop(stream.id, None)
        stream.release()

    def enlarge(self, stream: Stream | None, increment: int) -> None:
        """Take a WINDOW_UPDATE (6.9) of a stream, or of the connection: None.

        Raises H2ConnectionError, H2StreamError.
        """
        if stream is None:
            self._window += increment
            if self._window > wire.MAX_WINDOW:
                raise H2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "window over 2^31-1")
            self.pump_blocked()
        else:
            stream.credit += increment
            if self._initial + stream.credit > wire.MAX_WINDOW:
                raise H2StreamError(ErrorCode.FLOW_CONTROL_ERROR)
            self._pump(stream)

    def set_initial_window(self, size: int) -> None:
        """Take SETTINGS_INITIAL_WINDOW_SIZE: it moves each stream's window (6.9.2).

        Raises H2ConnectionError.
        """
        if size > wire.MAX_WINDOW or any(
            size + stream.credit > wire.MAX_WINDOW for stream in self._streams.values()
        ):
            raise H2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "window over 2^31-1")
        self._initial = size

    def pump_blocked(self) -> None:
        """Send what the windows have room for now."""
        for stream in list(self.blocked.values()):
            if self._window <= 0:
                break
            self._pump(stream)

    def _pump(self, stream: Stream) -> None:
        while stream.pending:
            room = min(self._window, self._initial + stream.credit, self.max_frame)
            if room <= 0:
                self.blocked[stream.id] = stream
                return
            part, stream.pending = stream.pending[:room], stream.pending[room:]
            self._window -= len(part)
            stream.credit -= len(part)
            stream.since = None
            last = stream.ending == b"" and not stream.pending
            self.frames.append(
                wire.frame(wire.DATA, wire.END_STREAM if last else 0, stream.id, part)
            )
        if self.blocked.pop(stream.id, None) and stream.ending is None:
            self._events.append((Event.SENT, stream))
        if stream.ending:
            self._headers(stream, wire.END_HEADERS | wire.END_STREAM, stream.ending)
        if stream.ending is not None:
            self.end(stream)

    def _headers(self, stream: Stream, flags: int, block: bytes) -> None:
        if self.table_off_due:
            self.table_off_due = False
            block = TABLE_OFF + block
        self.frames.append(wire.frame(wire.HEADERS, flags, stream.id, block))

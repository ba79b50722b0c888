"""The sending half of a connection: answers and flow control (RFC 9113 5.2)."""

from math import inf
from struct import Struct

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.account import Account
from sidecar.transport.h2.hpack import TABLE_OFF
from sidecar.transport.h2.rpc import PREFIX, PREFIX_BYTES, RESPONSE, SUCCESS
from sidecar.transport.h2.stream import Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError

# Our header blocks use no dynamic table. Each one says so, because a peer that reduces its table
# size expects that in the next block (RFC 7541 4.2).
_FIRST, _LAST = TABLE_OFF + RESPONSE, TABLE_OFF + SUCCESS
# A complete answer is HEADERS, DATA and HEADERS, in which only the stream and the message vary.
# Fields: length, type and flags; stream; block; length and type; flags; stream; message prefix.
_BEFORE = Struct(f">5sI{len(_FIRST)}sIBIBI")
_AFTER = Struct(f">5sI{len(_LAST)}s")
_FIRST_START = wire.frame(wire.HEADERS, wire.END_HEADERS, 0, _FIRST)[:5]
_LAST_START = wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 0, _LAST)[:5]


class Sender:
    """Answers the open ``streams``, and removes those that are answered or reset."""

    def __init__(self, streams: dict[int, Stream], account: Account) -> None:
        self.frames: list[bytes] = []  # to be sent
        self.goaway: bytes | None = None  # the last frame, after a connection error
        self.blocked: dict[int, Stream] = {}  # those with bytes that no window has room for
        self.moved = False  # a stream that waited for a window has sent: for the owner to clear
        self._max_frame = wire.LEAST_MAX_FRAME
        self._streams = streams
        self._account = account
        self._window = self._initial = wire.DEFAULT_WINDOW

    def take(self) -> bytes:
        """Return the bytes to send. Call it after answering what ``receive`` returned."""
        if self.goaway:
            self.frames.append(self.goaway)
            self.goaway = b""
        taken = b"".join(self.frames)
        self.frames.clear()
        return taken

    def answer(self, stream: Stream, message: bytes) -> None:
        """Answer a unary call, in one step where the windows and the frame size allow it."""
        size = len(message) + PREFIX_BYTES
        if size > self._window or size > self._initial + stream.credit or size > self._max_frame:
            self.send(stream, message)
            self.finish(stream, SUCCESS)
            return
        self._window -= size
        number = stream.id
        self.frames += (
            _BEFORE.pack(_FIRST_START, number, _FIRST, size << 8, 0, number, 0, len(message)),
            message,
            _AFTER.pack(_LAST_START, number, _LAST),
        )
        self.close(stream)

    def send(self, stream: Stream, message: bytes) -> None:
        """Send a message of an answer that continues, as far as the windows allow."""
        if not stream.begun:
            stream.begun = True
            self._send_block(stream, 0, RESPONSE)
        stream.pending = memoryview(bytes(stream.pending) + PREFIX.pack(0, len(message)) + message)
        self._pump(stream)

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """End an answer after its pending messages, unless it has ended already."""
        if stream.ending is None:
            stream.ending = trailers if stream.begun else RESPONSE + trailers
            self._pump(stream)

    def refuse(self, stream: Stream, block: bytes, body: bytes) -> None:
        """Answer a request that is not gRPC."""
        if body:
            self._send_block(stream, 0, block)
        stream.pending = body
        stream.ending = b"" if body else block
        self._pump(stream)

    def enlarge(self, stream: Stream | None, increment: int) -> None:
        """Apply a WINDOW_UPDATE (6.9) to a stream, or to the connection where it is None."""
        broken = H2StreamError if stream else H2ConnectionError
        if not increment:
            raise broken("WINDOW_UPDATE with increment 0")
        if stream is None:
            self._window = window = self._window + increment
        else:
            stream.credit += increment
            window = self._initial + stream.credit
        if window > wire.MAX_WINDOW:
            raise broken("flow-control window over 2^31-1", ErrorCode.FLOW_CONTROL_ERROR)  # 6.9.1
        if stream is None:
            self._pump_all()
        elif stream.pending:
            self._pump(stream)

    def apply(self, settings: bytes) -> None:
        """Apply the peer's SETTINGS (6.5) and acknowledge them."""
        # In order (6.5.3). Only the last value of a repeated setting is applied, so that one frame
        # cannot cause thousands of passes over all streams.
        self._account.work += len(settings) // limits.FIELD_BYTES
        for setting, value in dict(wire.SETTING.iter_unpack(settings)).items():
            if setting == wire.ENABLE_PUSH and value > 1:
                raise H2ConnectionError("ENABLE_PUSH must be 0 or 1")
            if setting == wire.INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif setting == wire.MAX_FRAME_SIZE:
                if not wire.LEAST_MAX_FRAME <= value <= wire.MOST_MAX_FRAME:
                    raise H2ConnectionError("MAX_FRAME_SIZE out of range")
                self._max_frame = value
        # grpcio uses a larger window only after the acknowledgement.
        self.frames.append(wire.frame(wire.SETTINGS, wire.ACK, 0))
        self._pump_all()

    def close(self, stream: Stream) -> None:
        """Remove a stream that is answered or reset."""
        del self._streams[stream.id]
        if self.blocked:
            self.blocked.pop(stream.id, None)
        stream.ending = b""
        if stream.held:
            self._account.release(stream)

    def _set_initial_window(self, size: int) -> None:
        """Apply SETTINGS_INITIAL_WINDOW_SIZE: it changes each stream's window (6.9.2)."""
        self._account.work += len(self._streams) // 16
        largest = max((stream.credit for stream in self._streams.values()), default=0)
        if size + max(largest, 0) > wire.MAX_WINDOW:
            raise H2ConnectionError("flow-control window over 2^31-1", ErrorCode.FLOW_CONTROL_ERROR)
        self._initial = size

    def _pump_all(self) -> None:
        self._account.work += len(self.blocked)
        for stream in list(self.blocked.values()):
            if self._window <= 0:
                break
            self._pump(stream)

    def _pump(self, stream: Stream) -> None:
        """Send what the windows allow, then the end of the answer."""
        while stream.pending:
            room = min(self._window, self._initial + stream.credit, self._max_frame)
            if room <= 0:
                if stream.id not in self.blocked:
                    self.blocked[stream.id] = stream
                    stream.until = self._account.now + limits.SEND_TIMEOUT
                return
            part, stream.pending = stream.pending[:room], stream.pending[room:]
            self._window -= len(part)
            stream.credit -= len(part)
            self.frames.append(wire.frame(wire.DATA, 0, stream.id, part))
            if self.blocked.pop(stream.id, None):  # progress: its timeout starts again
                self.moved = True
        stream.until = inf
        if stream.ending is not None:
            self._send_block(stream, wire.END_STREAM, stream.ending)
            self.close(stream)

    def _send_block(self, stream: Stream, flags: int, block: bytes) -> None:
        flags |= wire.END_HEADERS
        self.frames.append(wire.frame(wire.HEADERS, flags, stream.id, TABLE_OFF + block))

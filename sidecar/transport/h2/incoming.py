"""The receiving half of a connection: requests (RFC 9113, sections 5.1, 6.1, 6.2, 6.10 and 8.1)."""

from collections import deque

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.blocks import Blocks
from sidecar.transport.h2.outgoing import Outgoing
from sidecar.transport.h2.stream import Budget, Event, Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError, protocol_error

_REMEMBERED_RESETS = 1000  # about as many streams as may be in flight


class Chatter:
    """Counts what is legal and asks for nothing; see ``limits.MAX_CHATTER``."""

    def __init__(self) -> None:
        self.level = 0

    def count(self, number: int = 1) -> None:
        """Count one, or that many. Raises H2ConnectionError where it was too many."""
        self.level += number
        if self.level > limits.MAX_CHATTER:
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too much that asks for nothing")

    def forgive(self, number: int) -> None:
        """Count that many less."""
        self.level = max(0, self.level - number)


class Incoming:
    """Requests as they arrive; ``now`` is the time of what is being read."""

    def __init__(
        self,
        streams: dict[int, Stream],
        events: list[tuple[Event, Stream]],
        out: Outgoing,
        budget: Budget,
        chatter: Chatter,
    ) -> None:
        self.now = 0.0
        self._blocks = Blocks()
        self.acknowledged = False  # the peer knows our settings
        self.last = 0  # the highest stream that the peer opened
        self._passed_over: deque[range] = deque(maxlen=100)  # numbers never to be used; the latest
        self.final: int | None = None  # the highest that is served, once that is said
        self.block_since: float | None = None  # when a block began that CONTINUATION goes on with
        self._block = bytearray()
        self._block_of = (0, 0)  # its stream and flags
        self._streams = streams
        self._events = events
        self._out = out
        self._budget = budget
        self._chatter = chatter
        self._resets: dict[int, None] = {}  # ours: what was on its way to them is no fault
        self._resettable = 0  # complete requests that no reset was set against
        self._unacknowledged = 0  # bytes of DATA that no WINDOW_UPDATE gave back yet

    def on_headers(self, flags: int, number: int, payload: bytes) -> None:
        """Take HEADERS (6.2)."""
        if not number & 1:
            raise protocol_error("HEADERS on a stream that no client opens")  # 5.1.1
        if flags & (wire.PADDED | wire.HAS_PRIORITY):
            payload = wire.unpadded(flags, payload)
            if flags & wire.HAS_PRIORITY:  # deprecated, 5.3.2
                if len(payload) < wire.PRIORITY_BYTES:
                    raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "no room for the priority")
                payload = payload[wire.PRIORITY_BYTES :]
        if flags & wire.END_HEADERS:
            self._on_block(flags, number, payload)
        else:
            self._block = bytearray(payload)
            self._block_of = number, flags
            self.block_since = self.now

    def on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        """Take CONTINUATION (6.10)."""
        if self.block_since is None or number != self._block_of[0]:
            raise protocol_error("CONTINUATION of nothing")
        if not payload:
            self._chatter.count()
        self._block += payload
        if len(self._block) > limits.MAX_HEADER_BLOCK:
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too large a header block")
        if flags & wire.END_HEADERS:
            self.block_since = None
            block, self._block = bytes(self._block), bytearray()
            self._on_block(self._block_of[1], number, block)

    def _on_block(self, flags: int, number: int, block: bytes) -> None:
        if number > self.last:
            if number > self.last + 2:
                self._passed_over.append(range(self.last + 1, number))
            self.last = number
            head = self._blocks.head(block)
            if self.final is not None:  # 6.8: its client opens it again, elsewhere
                self._remember_reset(number)
                return
            most = limits.MAX_STREAMS if self.acknowledged else limits.MAX_EARLY_STREAMS
            if len(self._streams) >= most or len(self._out.blocked) >= limits.MAX_BLOCKED:
                raise H2StreamError(ErrorCode.REFUSED_STREAM)  # 5.1.2
            stream = self._streams[number] = Stream(number, head, self._budget, self.now)
            if flags & wire.END_STREAM:
                self._complete(stream)
            return
        open_stream = self._streams.get(number)
        if open_stream is None or open_stream.complete:
            self._blocks.skip(block)
            if open_stream is not None:
                raise H2StreamError(ErrorCode.STREAM_CLOSED)  # 5.1, half-closed (remote)
            if any(number in numbers for numbers in self._passed_over):
                raise protocol_error("HEADERS on a stream that was passed over")  # 5.1.1
            if number not in self._resets:
                raise H2ConnectionError(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            return
        self._blocks.trailers(block)
        if not flags & wire.END_STREAM:
            raise H2StreamError(ErrorCode.PROTOCOL_ERROR)  # 8.1
        self._complete(open_stream)

    def on_data(self, flags: int, number: int, payload: bytes) -> None:
        """Take DATA (6.1)."""
        size = len(payload)
        # 6.9: padding counts, and DATA for nobody. Credit is given back as it is read, so a peer
        # that oversteps a window is never told from one that we have just allowed to go on.
        self._unacknowledged += size
        if self._unacknowledged > limits.CONNECTION_WINDOW // 2:
            self._out.frames.append(wire.window_update(0, self._unacknowledged))
            self._unacknowledged = 0
        stream = self._streams.get(number)
        if stream is None or stream.complete:
            self.refuse_idle(number)
            if number not in self._resets:
                raise H2StreamError(ErrorCode.STREAM_CLOSED)  # 5.1
            self._chatter.count()
            return
        if flags & wire.PADDED:
            payload = wire.unpadded(flags, payload)
        if flags & wire.END_STREAM and not stream.received:
            stream.received = len(payload)
            stream.body = payload  # the usual case: all of it at once
            self._complete(stream)
            return
        stream.received += len(payload)
        stream.unacknowledged += size
        stream.hold(payload)
        if flags & wire.END_STREAM:
            self._complete(stream)
            return
        if not payload:
            self._chatter.count()
        if stream.unacknowledged > limits.STREAM_WINDOW // 2:
            self._out.frames.append(wire.window_update(number, stream.unacknowledged))
            stream.unacknowledged = 0

    def _complete(self, stream: Stream) -> None:
        length = stream.head.content_length
        if length is not None and length != stream.received:
            raise H2StreamError(ErrorCode.PROTOCOL_ERROR)  # 8.1.1
        stream.complete = True
        stream.since = None
        self._resettable += 1
        if self._chatter.level:
            self._chatter.forgive(limits.CHATTER_PER_REQUEST)
        self._events.append((Event.REQUEST, stream))

    def on_rst_stream(self, _flags: int, number: int, _payload: bytes) -> None:
        """Take RST_STREAM (6.4)."""
        self.refuse_idle(number)
        stream = self._streams.get(number)
        # A caller that leaves is no offence: its complete request pays for one reset, whether the
        # answer is out or not. The rest are what CVE-2023-44487 is made of.
        if self._resettable and (stream is None or stream.complete):
            self._resettable -= 1
        else:
            self._chatter.count()
        self._drop(number)

    def reset(self, number: int, code: ErrorCode) -> None:
        """Close a stream for the peer's fault (5.4.2). Raises H2ConnectionError for too many."""
        self._out.frames.append(wire.rst_stream(number, code))
        self._remember_reset(number)
        self._drop(number)
        self._chatter.count(limits.CHATTER_PER_FAULT)

    def refuse_idle(self, number: int) -> None:
        """Raise H2ConnectionError for a stream that was never opened (5.1)."""
        if number > self.last or not number & 1:
            raise protocol_error("a frame on an idle stream")

    def _remember_reset(self, number: int) -> None:
        self._resets[number] = None
        if len(self._resets) > _REMEMBERED_RESETS:
            del self._resets[next(iter(self._resets))]

    def _drop(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._out.end(stream)
            if stream.complete:
                self._events.append((Event.CANCELLED, stream))

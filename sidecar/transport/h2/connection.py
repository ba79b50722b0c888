"""One HTTP/2 connection, seen from the server (RFC 9113): bytes in, streams and bytes out.

No I/O, no clock: the caller hands over what arrived and when, serves the streams that it is given,
and sends what ``take`` returns. Nothing that a peer sends raises an exception here.
"""

from collections import deque
from functools import cache
from math import inf

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.hpack import Decoder, Field
from sidecar.transport.h2.limits import Limits
from sidecar.transport.h2.rpc import Head, check_trailers, read_head
from sidecar.transport.h2.sending import Budget, Sending, Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError

# Where a frame must be, and its size; others may be anywhere and of any size.
_ON_CONNECTION = {wire.SETTINGS, wire.PING, wire.GOAWAY}
_ON_STREAMS = set(range(wire.CONTINUATION + 1)) - _ON_CONNECTION - {wire.WINDOW_UPDATE}
_PREFIXED = wire.PADDED | wire.HAS_PRIORITY  # HEADERS that do not begin with the block
_PRIORITY, _GOAWAY = 5, 8  # bytes: 6.3; 6.8, at least
_SIZES = {wire.PRIORITY: _PRIORITY, wire.RST_STREAM: 4, wire.PING: 8, wire.WINDOW_UPDATE: 4}


@cache
def _greeting(allowed: Limits) -> bytes:
    settings = {
        wire.MAX_CONCURRENT_STREAMS: allowed.streams,
        wire.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW,
        wire.MAX_HEADER_LIST_SIZE: allowed.header_block,
    }
    more = allowed.window - wire.DEFAULT_WINDOW
    return wire.settings(settings) + (wire.window_update(0, more) if more else b"")


class Connection(Sending):
    """The state of a connection; ``now`` is seconds of any one clock."""

    def __init__(self, budget: Budget, now: float) -> None:
        super().__init__(budget, now)
        self._frames.append(_greeting(self._limits))
        # What has arrived of what is not complete.
        self._preface = wire.PREFACE  # what is missing of it
        self._next: int | None = wire.SETTINGS  # the one type of frame that may follow
        self._rest = b""  # the beginning of a frame, or what was left for another turn
        self._block = bytearray()  # of headers, which CONTINUATION goes on with
        self._block_of = (0, 0)  # flags and stream, while there is a block
        self._pieces = 0  # CONTINUATIONs of it
        self._since = now  # when that began, or the last frame ended
        self.unread = False  # whether a slice of work was done before all was read
        # Times and counts.
        self._opened = now
        self.used = now  # when the last request came
        self._acknowledged = False  # the peer knows our settings
        self._chatter = 0  # see limits.MAX_CHATTER
        self._resettable = 0  # complete requests that no reset was set against
        self._returned = self._limits.window // 2  # so much of DATA at once
        self._unreturned = 0  # bytes of DATA that no WINDOW_UPDATE gave back yet
        # Streams.
        self._decoder = Decoder()
        self._most = 0  # that may be open now, and whether that may have changed by itself:
        self._share, self._unsettled = self._limits.share, True
        self._last = 0  # the highest stream that the peer opened
        self._skipped = False  # it has passed over numbers
        self._resets: deque[int] = deque(maxlen=limits.REMEMBERED_RESETS)  # by us
        self._final: int | None = None  # the highest that is served, once that is said
        self._seen: list[Stream] = []
        self.settle()

    @property
    def done(self) -> bool:
        """Whether the connection is to be closed once ``take``'s bytes are sent."""
        return self._goaway is not None or (self._final is not None and not self.streams)

    def receive(self, data: bytes, now: float) -> list[Stream]:
        """Read what arrived; return the streams to see to, in order.

        Those without an ``ending`` have a request to be answered. The others are closed, and had.
        Where ``unread`` is true then, this goes on with b"", after others have had their turn.
        """
        self._now = now
        if self.streams or self._rest or self._unsettled or self._budget.held > self._share:
            self.settle()
        if self._goaway is None:
            try:
                self._read(data)
            except H2ConnectionError as error:
                self._fail(error)
        if not self._seen:
            return []
        self.used = now
        seen, self._seen = self._seen, []
        return seen

    def tick(self, now: float) -> list[Stream]:
        """See to what takes too long, every ``limits.TICK`` seconds; return what that closed."""
        self._now = now
        self.settle()
        if self._goaway is None:
            try:
                self._check_times()
            except H2ConnectionError as error:
                self._fail(error)
        seen, self._seen = self._seen, []
        return seen

    def lost(self) -> list[Stream]:
        """Let go of every stream; return those with a request: the connection is closed."""
        for number in list(self.streams):
            self._drop(number)
        self._rest, self._block, self.unread = b"", bytearray(), False
        self.settle()
        return self._seen

    def settle(self) -> None:
        """Charge what is held now, when what was read before was seen to; see what may be opened.

        All that is opened next may have to wait for its answer.
        """
        held = len(self.streams) * limits.STREAM_BYTES + len(self._rest) + len(self._block)
        if self._blocked:
            held += sum(len(stream.pending) for stream in self._blocked.values())
        self._charge(held - self._settled)
        self._settled, self._unsettled = held, held > 0 or self._budget.held > self._share
        most = self._limits.streams if self._acknowledged else self._limits.early_streams
        more = self._room() // (limits.STREAM_BYTES + limits.WAITING_BYTES)
        self._most = min(most, len(self.streams) + more)

    def resumed(self, now: float) -> None:
        """Go on after we read nothing for a while: that time is not the peer's."""
        self._since = now

    def announce_end(self) -> None:
        """Ask the peer to open no more streams; those on their way are served (6.8)."""
        self._frames.append(wire.goaway(wire.MAX_STREAM_ID, ErrorCode.NO_ERROR))

    def end(self) -> None:
        """Serve no stream but those that are open; ``done`` after the last of them."""
        if self._final is None:
            self._final = self._last
            self._frames.append(wire.goaway(self._last, ErrorCode.NO_ERROR))

    def _read(self, data: bytes) -> None:
        """Take the whole frames (4.1) of ``data``, keep the rest."""
        if not self._rest and self._next is None:
            self._since = self._now
        if self._preface:  # 3.4
            size = min(len(self._preface), len(data))
            if data[:size] != self._preface[:size]:
                raise H2ConnectionError("no HTTP/2 preface")
            data, self._preface = data[size:], self._preface[size:]
        data = self._rest + data if self._rest else data
        position, end = 0, len(data)
        work, most, a_request = 0, limits.SLICE, limits.REQUEST_WORK
        self.unread = False
        while (start := position + wire.FRAME_HEADER_BYTES) <= end:
            if work >= most:
                self.unread = True
                break
            length, flags, number = wire.FRAME_HEADER.unpack_from(data, position)
            kind, length = length & 0xFF, length >> 8
            if length > limits.MAX_FRAME:
                raise H2ConnectionError("over MAX_FRAME_SIZE", ErrorCode.FRAME_SIZE_ERROR)
            if start + length > end:
                break
            position = start + length
            number &= wire.MAX_STREAM_ID
            if self._next is not None and kind != self._next:  # 3.4, 6.10
                raise H2ConnectionError("SETTINGS come first; blocks are not interrupted")
            # DATA and HEADERS of a stream, which are nearly all, are looked at no further here.
            if (kind > wire.HEADERS or not number) and (
                kind in (_ON_CONNECTION if number else _ON_STREAMS)
            ):
                raise H2ConnectionError("a stream's frame on the connection, or the reverse")
            payload = data[start:position]
            try:
                if kind == wire.DATA:
                    self._on_data(flags, number, payload)
                elif kind == wire.HEADERS:
                    work += a_request
                    self._on_headers(flags, number, payload)
                elif kind == wire.CONTINUATION:
                    self._on_continuation(flags, number, payload)
                else:
                    self._on_control(kind, flags, number, payload)
            except H2StreamError as error:
                self._reset(number, error.code)
            if self._work:  # more than a call takes that Envoy makes
                work += self._work
                self._work = 0
        if position and self._next is None:
            self._since = self._now
        self._rest = data[position:]

    def _fail(self, error: H2ConnectionError) -> None:
        last = self._last if self._final is None else self._final
        self._goaway = wire.goaway(last, error.code, error.rule)
        self._rest, self._block, self.unread = b"", bytearray(), False
        self.settle()

    def _on_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._work += 1
        size = len(payload)
        if size != _SIZES.get(kind, size) or (kind == wire.GOAWAY and size < _GOAWAY):
            raise H2ConnectionError("a frame of a wrong size", ErrorCode.FRAME_SIZE_ERROR)
        stream = self.streams.get(number)
        if stream is None and number and kind in {wire.RST_STREAM, wire.WINDOW_UPDATE}:
            self._refuse_idle(number)  # else closed: it may have crossed our END_STREAM
        # A caller that leaves is no offence: its complete request pays for one reset, whether the
        # answer is out or not. The rest are what CVE-2023-44487 is made of.
        if kind == wire.RST_STREAM and self._resettable and (stream is None or stream.complete):
            self._resettable -= 1
        else:
            self._count()
        if kind == wire.RST_STREAM:  # 6.4
            self._drop(number)
        elif kind == wire.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == wire.PUSH_PROMISE:
            raise H2ConnectionError("a client pushes nothing")  # 6.6
        elif kind == wire.PING and not flags & wire.ACK:  # 6.7
            self._frames.append(wire.frame(wire.PING, wire.ACK, 0, payload))
        elif kind == wire.WINDOW_UPDATE and (stream is not None or number == 0):  # 6.9
            self._enlarge(stream, wire.UINT32.unpack(payload)[0] & wire.MAX_WINDOW)
        # PRIORITY is deprecated (5.3.2), GOAWAY is about streams that we would open (6.8), and
        # other types are to be ignored (4.1, 5.5).

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:  # 6.2
        if not number & 1:
            raise H2ConnectionError("HEADERS on a stream that no client opens")  # 5.1.1
        if flags & _PREFIXED:
            if flags & wire.PADDED:
                payload = wire.unpadded(payload)
            if flags & wire.HAS_PRIORITY:  # deprecated, 5.3.2
                if len(payload) < _PRIORITY:
                    raise H2ConnectionError("no room for the priority", ErrorCode.FRAME_SIZE_ERROR)
                payload = payload[_PRIORITY:]
        if flags & wire.END_HEADERS:
            self._take_block(flags, number, payload)
        else:
            self._block, self._block_of, self._pieces = bytearray(payload), (flags, number), 0
            self._since = self._now
            self._next = wire.CONTINUATION

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:  # 6.10
        if self._next is None or number != self._block_of[1]:
            raise H2ConnectionError("CONTINUATION of nothing")
        self._work += 1
        self._pieces += 1
        self._block += payload
        if len(self._block) > self._limits.header_block or self._pieces > limits.MAX_PIECES:
            raise H2ConnectionError("too large a header block", ErrorCode.ENHANCE_YOUR_CALM)
        if flags & wire.END_HEADERS:
            self._next = None
            block, self._block = bytes(self._block), bytearray()
            self._take_block(*self._block_of, block)

    def _take_block(self, flags: int, number: int, block: bytes) -> None:
        if number > self._last:
            stream = self._open(number, block)
            if stream is not None and flags & wire.END_STREAM:
                self._complete(stream)
            return
        stream = self.streams.get(number)
        if stream is not None and not stream.complete:
            check_trailers(self._decode(block))
            if not flags & wire.END_STREAM:
                raise H2StreamError("trailers without END_STREAM")  # 8.1
        else:
            self._decode(block)  # to keep in step (4.3)
            if stream is not None:
                raise H2StreamError("half-closed", ErrorCode.STREAM_CLOSED)  # 5.1
            if number not in self._resets:
                code = ErrorCode.PROTOCOL_ERROR if self._skipped else ErrorCode.STREAM_CLOSED
                raise H2ConnectionError("HEADERS on a closed stream", code)  # 5.1.1, 5.1
        if stream is not None and flags & wire.END_STREAM:
            self._complete(stream)

    def _open(self, number: int, block: bytes) -> Stream | None:
        if number > self._last + 2:
            self._skipped = True
        self._last = number
        # A client that calls the same method again and again repeats a block that refers to the
        # decoder's table and does not change it: until something does, its bytes say it all.
        head: Head | None = self._decoder.memo.get(block)
        if head is None:
            head = read_head(self._decode(block))
            if not self._decoder.changed and len(block) <= limits.MEMO_BLOCK:
                if len(self._decoder.memo) >= limits.MEMO_ENTRIES:
                    self._decoder.memo.clear()
                self._decoder.memo[block] = head
        if self._final is not None:  # 6.8: its client opens it again, elsewhere
            self._resets.append(number)
            return None
        if len(self.streams) >= self._most or len(self._blocked) >= limits.MAX_BLOCKED:
            raise H2StreamError("too many streams", ErrorCode.REFUSED_STREAM)  # 5.1.2
        deadline = None if head.timeout is None else self._now + head.timeout
        stream = Stream(number, head, deadline, self._now + limits.REQUEST_TIMEOUT)
        self.streams[number] = stream
        return stream

    def _decode(self, block: bytes) -> list[Field]:
        if len(block) > self._limits.header_block:
            raise H2ConnectionError("too large a header block", ErrorCode.ENHANCE_YOUR_CALM)
        fields = self._decoder.decode(block, self._limits.header_block)
        work = self._decoder.work
        self._work += work
        if work >= limits.WORK_PER_CHATTER:
            self._count(work // limits.WORK_PER_CHATTER)
        return fields

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:  # 6.1
        # 6.9: padding counts, and DATA for nobody. Credit is given back as it is read, so a peer
        # that oversteps the window is never told from one that we have just allowed to go on.
        self._unreturned += len(payload)
        if self._unreturned > self._returned:
            self._frames.append(wire.window_update(0, self._unreturned))
            self._unreturned = 0
        stream = self.streams.get(number)
        if stream is None or stream.complete:
            self._refuse_idle(number)
            if self._final is not None and number > self._final:
                return  # it crossed our GOAWAY
            if number not in self._resets:
                raise H2StreamError("DATA on a closed stream", ErrorCode.STREAM_CLOSED)  # 5.1
            self._count()
            return
        if flags & wire.PADDED:
            payload = wire.unpadded(payload)
        last = flags & wire.END_STREAM
        if last and not stream.received:
            stream.body = payload  # the usual case: all of it at once
        elif payload:
            self._hold(stream, payload)
        if not last:
            self._work += 1
            if len(payload) < limits.CRUMB:
                self._count()
        stream.received += len(payload)
        if last:
            self._complete(stream)

    def _complete(self, stream: Stream) -> None:
        length = stream.head.content_length
        if length is not None and length != stream.received:
            raise H2StreamError("not content-length's bytes")  # 8.1.1
        stream.complete, stream.until = True, inf
        self._resettable += 1
        if self._chatter:
            self._chatter = max(0, self._chatter - limits.CHATTER_PER_REQUEST)
        if stream.head.refusal is not None:
            self._refuse(stream, *stream.head.refusal)
        else:
            self._seen.append(stream)

    def _on_settings(self, flags: int, payload: bytes) -> None:  # 6.5
        if len(payload) % wire.SETTING.size or (flags & wire.ACK and payload):
            raise H2ConnectionError("SETTINGS of a wrong size", ErrorCode.FRAME_SIZE_ERROR)
        if flags & wire.ACK:
            if self._next is not None:
                raise H2ConnectionError("SETTINGS come first")  # 3.4
            self._acknowledged = True
            self._most = min(self._most, self._limits.streams)
            return
        self._next = None
        # In their order (6.5.3); of those that come twice the last alone, so that one frame cannot
        # ask for thousands of looks at every stream.
        self._work += len(payload) // limits.FIELD_BYTES
        for setting, value in dict(wire.SETTING.iter_unpack(payload)).items():
            if setting == wire.ENABLE_PUSH and value > 1:
                raise H2ConnectionError("ENABLE_PUSH is 0 or 1")
            if setting == wire.INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif setting == wire.MAX_FRAME_SIZE:
                if not wire.LEAST_MAX_FRAME <= value <= wire.MOST_MAX_FRAME:
                    raise H2ConnectionError("MAX_FRAME_SIZE out of range")
                self._max_frame = value
        # grpcio counts a larger window only from the acknowledgement on.
        self._frames.append(wire.frame(wire.SETTINGS, wire.ACK, 0))
        self._pump_all()

    def _count(self, number: int = 1) -> None:
        """Count what is legal and asks for nothing. Raises H2ConnectionError for too much."""
        self._chatter += number
        if self._chatter > self._limits.chatter:
            raise H2ConnectionError("too much that asks for nothing", ErrorCode.ENHANCE_YOUR_CALM)

    def _refuse_idle(self, number: int) -> None:
        if number > self._last or not number & 1:
            raise H2ConnectionError("a frame on an idle stream")  # 5.1

    def _reset(self, number: int, code: ErrorCode) -> None:
        """Close a stream for the peer's fault (5.4.2); what was on its way to it is none."""
        self._frames.append(wire.rst_stream(number, code))
        self._resets.append(number)
        self._drop(number)
        self._count(limits.CHATTER_PER_FAULT)

    def _drop(self, number: int) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            self._close(stream)
            if stream.complete:
                self._seen.append(stream)

    def _check_times(self) -> None:
        self._chatter = max(0, self._chatter - limits.CHATTER_PER_SECOND)
        if not self._acknowledged and self._now - self._opened > limits.HANDSHAKE_TIMEOUT:
            raise H2ConnectionError("no SETTINGS ACK", ErrorCode.SETTINGS_TIMEOUT)  # 6.5.3
        quiet = self._now - self._since
        begun = self._rest or self._next is not None
        if begun and not self.unread and quiet > limits.FRAME_TIMEOUT:
            raise H2ConnectionError("a frame that does not end", ErrorCode.ENHANCE_YOUR_CALM)
        for stream in list(self.streams.values()):
            if self._now > stream.until:
                self._reset(stream.id, ErrorCode.CANCEL)
        if not self.streams and self._now - self.used > self._limits.idle:
            self.end()

"""The server side of one HTTP/2 connection (RFC 9113): bytes in, streams and bytes out.

No I/O, no clock: the owner passes in the bytes and the time of their arrival, answers the streams
that it receives, and sends what ``Sender.take`` returns. No input from a peer raises an exception.
"""

from collections.abc import Callable
from functools import cache

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.account import Account, Budget
from sidecar.transport.h2.limits import Limits
from sidecar.transport.h2.receiving import Receiver
from sidecar.transport.h2.sending import Sender
from sidecar.transport.h2.stream import Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError

# Frames that must be on stream 0, that must not, and that have a fixed size.
_ON_CONNECTION = {wire.SETTINGS, wire.PING, wire.GOAWAY}
_ON_STREAMS = set(range(wire.CONTINUATION + 1)) - _ON_CONNECTION - {wire.WINDOW_UPDATE}
_HEADER_BYTES, _unpack_header = wire.FRAME_HEADER_BYTES, wire.FRAME_HEADER.unpack_from
_PREFIXED = wire.PADDED | wire.HAS_PRIORITY  # HEADERS in which fields precede the block
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


class Connection:
    """Reads frames, and hands them to its two halves; ``now`` is seconds of any one clock.

    The owner answers by the sending half, ``sender``.
    """

    def __init__(self, budget: Budget, now: float) -> None:
        self.streams: dict[int, Stream] = {}  # the open ones; both halves share them
        self._account = Account(budget, now)
        self._limits = budget.limits
        self.sender = Sender(self.streams, self._account)
        self._receiver = Receiver(self.streams, self.sender, self._account)
        self.sender.frames.append(_greeting(self._limits))
        # Incomplete input.
        self._preface = wire.PREFACE  # the part that has not arrived
        self._next: int | None = wire.SETTINGS  # the only type of frame that may follow
        self._rest = b""  # an incomplete frame, or input left for another turn
        self._block = bytearray()  # an incomplete header block
        self._block_of = (0, 0)  # its flags and stream
        self._pieces = 0  # its CONTINUATION frames
        self._since = now  # when the incomplete input began, or the last frame ended
        self.unread = False  # whether a slice ended before all input was read
        # Times.
        self._opened = now
        self.used = now  # when the last request arrived
        self._acknowledged = False  # the peer acknowledged our SETTINGS
        self._unsettled = True  # ``settle`` must run before the next input
        self.settle()

    @property
    def done(self) -> bool:
        """Whether to close the connection after sending what ``take`` returns."""
        if self.sender.goaway is not None:
            return True
        return self._receiver.final is not None and not self.streams

    def receive(self, data: bytes, now: float) -> list[Stream]:
        """Read input; return the streams with a change, in order.

        Those without an ``ending`` have a request to answer. The others had one and are closed.
        If ``unread`` is true afterwards, call it with b"" after other connections had their turn.
        """
        self._account.now = now
        if self.streams or self._rest or self._unsettled or self._account.crowded:
            self.settle()
        if self.sender.goaway is None:
            try:
                self._read(data)
            except H2ConnectionError as error:
                self._fail(error)
        if not self._receiver.changed:
            return []
        self.used = now
        changed, self._receiver.changed = self._receiver.changed, []
        return changed

    def tick(self, now: float) -> list[Stream]:
        """Apply timeouts, every ``limits.TICK`` seconds; return the closed streams."""
        self._account.now = now
        self.settle()
        if self.sender.goaway is None:
            try:
                self._check_times()
            except H2ConnectionError as error:
                self._fail(error)
        changed, self._receiver.changed = self._receiver.changed, []
        return changed

    def lost(self) -> list[Stream]:
        """Drop every stream of a closed connection; return those with a request."""
        for number in list(self.streams):
            self._receiver.drop(number)
        self._rest, self._block, self.unread = b"", bytearray(), False
        self.settle()
        return self._receiver.changed

    def settle(self) -> None:
        """Charge what is held now, and compute how many streams may be open.

        Each new stream is assumed to wait for its answer.
        """
        held = len(self.streams) * limits.STREAM_BYTES + len(self._rest) + len(self._block)
        if self.sender.blocked:
            held += sum(len(stream.pending) for stream in self.sender.blocked.values())
        self._account.settle(held)
        self._unsettled = held > 0 or self._account.crowded
        most = self._limits.streams if self._acknowledged else self._limits.early_streams
        more = self._account.room() // (limits.STREAM_BYTES + limits.WAITING_BYTES)
        self._receiver.most = min(most, len(self.streams) + more)

    def wait(self, stream: Stream, cancel: Callable[[], object]) -> None:
        """Note that a request's answer takes time, and how to cancel it."""
        stream.cancel = cancel
        self._account.keep_waiting(stream)

    def resumed(self, now: float) -> None:
        """Continue after a pause in which we read nothing: it is not the peer's delay."""
        self._since = now

    def announce_end(self) -> None:
        """Tell the peer to open no more streams; those on their way are served (6.8)."""
        self.sender.frames.append(wire.goaway(wire.MAX_STREAM_ID, ErrorCode.NO_ERROR))

    def end(self) -> None:
        """Serve only the streams that are open; ``done`` after the last of them."""
        if self._receiver.final is None:
            self._receiver.final = self._receiver.last
            self.sender.frames.append(wire.goaway(self._receiver.last, ErrorCode.NO_ERROR))

    def _read(self, data: bytes) -> None:
        """Process the complete frames (4.1) of ``data``, keep the rest."""
        if not self._rest and self._next is None:
            self._since = self._account.now
        if self._preface:  # 3.4
            size = min(len(self._preface), len(data))
            if data[:size] != self._preface[:size]:
                raise H2ConnectionError("invalid HTTP/2 preface")
            data, self._preface = data[size:], self._preface[size:]
        data = self._rest + data if self._rest else data
        position, end = 0, len(data)
        receiver, account = self._receiver, self._account
        work, most, a_request = 0, limits.SLICE, limits.REQUEST_WORK
        self.unread = False
        while (start := position + _HEADER_BYTES) <= end:
            if work >= most:
                self.unread = True
                break
            length, flags, number = _unpack_header(data, position)
            kind, length = length & 0xFF, length >> 8
            if length > limits.MAX_FRAME:
                raise H2ConnectionError("frame over MAX_FRAME_SIZE", ErrorCode.FRAME_SIZE_ERROR)
            if start + length > end:
                break
            position = start + length
            number &= wire.MAX_STREAM_ID
            if self._next is not None and kind != self._next:  # 3.4, 6.10
                raise H2ConnectionError("expected SETTINGS or CONTINUATION")
            # Most frames are DATA and HEADERS of a stream: they skip this check.
            if (kind > wire.HEADERS or not number) and (
                kind in (_ON_CONNECTION if number else _ON_STREAMS)
            ):
                raise H2ConnectionError("frame type not allowed on this stream ID")
            payload = data[start:position]
            try:
                if kind == wire.DATA:
                    receiver.on_data(flags, number, payload)
                elif kind == wire.HEADERS:
                    work += a_request
                    self._on_headers(flags, number, payload)
                elif kind == wire.CONTINUATION:
                    self._on_continuation(flags, number, payload)
                else:
                    self._on_control(kind, flags, number, payload)
            except H2StreamError as error:
                receiver.reset(number, error.code)
            if account.work:  # 0 for Envoy's usual calls
                work += account.work
                account.work = 0
        if position and self._next is None:
            self._since = self._account.now
        self._rest = data[position:]

    def _fail(self, error: H2ConnectionError) -> None:
        last = self._receiver.last if self._receiver.final is None else self._receiver.final
        self.sender.goaway = wire.goaway(last, error.code, error.rule)
        self._rest, self._block, self.unread = b"", bytearray(), False
        self.settle()

    def _on_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._account.work += 1
        size = len(payload)
        if size != _SIZES.get(kind, size) or (kind == wire.GOAWAY and size < _GOAWAY):
            raise H2ConnectionError("invalid frame size", ErrorCode.FRAME_SIZE_ERROR)
        stream = self.streams.get(number)
        if stream is None and number and kind in {wire.RST_STREAM, wire.WINDOW_UPDATE}:
            # Not idle is closed: no error, the frame may have crossed our END_STREAM.
            self._receiver.refuse_idle(number)
        if kind == wire.RST_STREAM and (stream is None or stream.complete):
            self._account.count_reset()
        else:
            self._account.count()
        if kind == wire.RST_STREAM:  # 6.4
            self._receiver.drop(number)
        elif kind == wire.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == wire.PUSH_PROMISE:
            raise H2ConnectionError("PUSH_PROMISE from a client")  # 6.6
        elif kind == wire.PING and not flags & wire.ACK:  # 6.7
            self.sender.frames.append(wire.frame(wire.PING, wire.ACK, 0, payload))
        elif kind == wire.WINDOW_UPDATE and (stream is not None or number == 0):  # 6.9
            self.sender.enlarge(stream, wire.UINT32.unpack(payload)[0] & wire.MAX_WINDOW)
        # Ignored: PRIORITY is deprecated (5.3.2), GOAWAY is about streams that a server opens
        # (6.8), and unknown types must be ignored (4.1, 5.5).

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:  # 6.2
        if not number & 1:
            raise H2ConnectionError("HEADERS on an even stream ID")  # 5.1.1
        if flags & _PREFIXED:
            if flags & wire.PADDED:
                payload = wire.unpadded(payload)
            if flags & wire.HAS_PRIORITY:  # deprecated, 5.3.2
                if len(payload) < _PRIORITY:
                    raise H2ConnectionError("HEADERS is too short", ErrorCode.FRAME_SIZE_ERROR)
                payload = payload[_PRIORITY:]
        if flags & wire.END_HEADERS:
            self._receiver.on_block(flags, number, payload)
        else:
            self._block, self._block_of, self._pieces = bytearray(payload), (flags, number), 0
            self._since = self._account.now
            self._next = wire.CONTINUATION

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:  # 6.10
        if self._next is None or number != self._block_of[1]:
            raise H2ConnectionError("CONTINUATION without HEADERS")
        self._account.work += 1
        self._pieces += 1
        self._block += payload
        if len(self._block) > self._limits.header_block or self._pieces > limits.MAX_PIECES:
            raise H2ConnectionError("header block too large", ErrorCode.ENHANCE_YOUR_CALM)
        if flags & wire.END_HEADERS:
            self._next = None
            block, self._block = bytes(self._block), bytearray()
            self._receiver.on_block(*self._block_of, block)

    def _on_settings(self, flags: int, payload: bytes) -> None:  # 6.5
        if len(payload) % wire.SETTING.size or (flags & wire.ACK and payload):
            raise H2ConnectionError("invalid SETTINGS size", ErrorCode.FRAME_SIZE_ERROR)
        if not flags & wire.ACK:
            self._next = None
            self.sender.apply(payload)
            return
        if self._next is not None:
            raise H2ConnectionError("expected SETTINGS")  # 3.4
        self._acknowledged = True
        self._receiver.most = min(self._receiver.most, self._limits.streams)

    def _check_times(self) -> None:
        now = self._account.now
        self._account.count_second()
        if not self._acknowledged and now - self._opened > limits.HANDSHAKE_TIMEOUT:
            raise H2ConnectionError("SETTINGS ACK timeout", ErrorCode.SETTINGS_TIMEOUT)  # 6.5.3
        quiet = now - self._since
        begun = self._rest or self._next is not None
        if begun and not self.unread and quiet > limits.FRAME_TIMEOUT:
            raise H2ConnectionError("incomplete frame: timeout", ErrorCode.ENHANCE_YOUR_CALM)
        for stream in list(self.streams.values()):
            if now > stream.until:
                self._receiver.reset(stream.id, ErrorCode.CANCEL)
        if not self.streams and now - self.used > self._limits.idle:
            self.end()

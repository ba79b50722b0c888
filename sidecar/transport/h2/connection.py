"""One HTTP/2 connection, seen from the server (RFC 9113): bytes in, events and bytes out.

No I/O, no clock: the caller hands over what arrived and when, serves the streams that it is told
of, and sends what ``take`` returns. Nothing that a peer sends raises an exception here.
"""

from collections.abc import Callable

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.incoming import Chatter, Incoming
from sidecar.transport.h2.outgoing import DEFAULT_WINDOW, Outgoing
from sidecar.transport.h2.stream import Budget, Event, Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError, protocol_error

_GREETING = wire.settings(
    {
        wire.MAX_CONCURRENT_STREAMS: limits.MAX_STREAMS,
        wire.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW,
        wire.MAX_HEADER_LIST_SIZE: limits.MAX_HEADER_BLOCK,
    }
) + wire.window_update(0, limits.CONNECTION_WINDOW - DEFAULT_WINDOW)


_Handler = Callable[[int, int, bytes], None]  # flags, stream, payload


class Connection:
    """The state of a connection; ``now`` is seconds of any one clock.

    ``streams`` are the open ones by number; ``out`` takes their answers.
    """

    def __init__(self, budget: Budget, now: float) -> None:
        self.streams: dict[int, Stream] = {}
        self._events: list[tuple[Event, Stream]] = []
        self._chatter = Chatter()
        self.out = Outgoing(self.streams, self._events)
        self.out.frames.append(_GREETING)
        self._in = Incoming(self.streams, self._events, self.out, budget, self._chatter)
        # By type: who takes it, whether it belongs on a stream (None: either), its size if fixed.
        self._kinds: dict[int, tuple[_Handler, bool | None, int | None]] = {
            wire.DATA: (self._in.on_data, True, None),
            wire.HEADERS: (self._in.on_headers, True, None),
            wire.PRIORITY: (self._ignore, True, wire.PRIORITY_BYTES),  # deprecated: 5.3.2
            wire.RST_STREAM: (self._in.on_rst_stream, True, wire.UINT32.size),
            wire.SETTINGS: (self._on_settings, False, None),
            wire.PUSH_PROMISE: (self._on_push_promise, True, None),
            wire.PING: (self._on_ping, False, wire.PING_BYTES),
            wire.GOAWAY: (self._on_goaway, False, None),
            wire.WINDOW_UPDATE: (self._on_window_update, None, wire.UINT32.size),
            wire.CONTINUATION: (self._in.on_continuation, True, None),
        }
        self._opened = now
        self._greeted = False  # the preface came
        self._configured = False  # and the SETTINGS that belong to it
        self._rest = b""  # the beginning of a frame
        self._rest_since = now
        self._goaway: bytes | None = None  # what to say last: the connection is at its end

    @property
    def done(self) -> bool:
        """Whether the connection is to be closed once ``take``'s bytes are sent."""
        return self._goaway is not None or (self._in.final is not None and not self.streams)

    def receive(self, data: bytes, now: float) -> list[tuple[Event, Stream]]:
        """Read what arrived; return what happened to streams, in order."""
        self._in.now = now
        if self._goaway is None:
            try:
                self._read(self._rest + data if self._rest else data)
            except H2ConnectionError as error:
                self._fail(error)
        return self._happened()

    def tick(self, now: float) -> list[tuple[Event, Stream]]:
        """See to what takes too long; to be called every ``limits.TICK`` seconds."""
        self._in.now = now
        self._chatter.forgive(limits.CHATTER_PER_SECOND)
        if self._goaway is None:
            try:
                self._check_times(now)
            except H2ConnectionError as error:
                self._fail(error)
        return self._happened()

    def take(self) -> bytes:
        """Return the bytes to be sent; to be called after serving what was returned."""
        frames = self.out.frames
        if self._goaway:
            frames.append(self._goaway)
            self._goaway = b""
        taken = b"".join(frames)
        frames.clear()
        return taken

    def announce_end(self) -> None:
        """Ask the peer to open no more streams; those on their way are served (6.8)."""
        self.out.frames.append(wire.goaway(wire.MAX_STREAM_ID, ErrorCode.NO_ERROR))

    def end(self) -> None:
        """Serve no stream but those that are open; ``done`` after the last of them."""
        if self._in.final is None:
            self._in.final = self._in.last
            self.out.frames.append(wire.goaway(self._in.last, ErrorCode.NO_ERROR))

    def lost(self) -> None:
        """Let go of every stream: the connection is closed."""
        for stream in list(self.streams.values()):
            self.out.end(stream)

    def _happened(self) -> list[tuple[Event, Stream]]:
        events = self._events.copy()
        self._events.clear()
        return events

    def _fail(self, error: H2ConnectionError) -> None:
        last = self._in.last if self._in.final is None else self._in.final
        self._goaway = wire.goaway(last, error.code, error.rule)
        self._rest = b""

    def _read(self, data: bytes) -> None:
        """Take the whole frames (4.1) of ``data``, keep the rest."""
        position = 0
        if not self._greeted:
            start = data[: len(wire.PREFACE)]
            if not wire.PREFACE.startswith(start):
                raise protocol_error("no HTTP/2 preface")  # 3.4
            if len(start) == len(wire.PREFACE):
                self._greeted = True
                position = len(start)
        end = len(data) if self._greeted else 0
        while end - position >= wire.FRAME_HEADER_BYTES:
            length, flags, number = wire.FRAME_HEADER.unpack_from(data, position)
            kind = length & 0xFF
            length >>= 8
            if length > limits.MAX_FRAME:
                raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a frame over MAX_FRAME_SIZE")
            payload = position + wire.FRAME_HEADER_BYTES
            if payload + length > end:
                break
            position = payload + length
            self._take_frame(kind, flags, number & wire.MAX_STREAM_ID, data[payload:position])
        if position or not self._rest:
            self._rest_since = self._in.now
        self._rest = data[position:]

    def _take_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self._configured and (kind != wire.SETTINGS or flags & wire.ACK):
            raise protocol_error("SETTINGS come first")  # 3.4
        if self._in.block_since is not None and kind != wire.CONTINUATION:
            raise protocol_error("a frame within a header block")  # 6.10
        handler, on_stream, size = self._kinds.get(kind, (self._ignore, None, None))
        if size is not None and len(payload) != size:
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a frame of a wrong size")
        if on_stream is not None and on_stream != (number != 0):
            raise protocol_error("a stream's frame on the connection, or the other way round")
        try:
            handler(flags, number, payload)
        except H2StreamError as error:
            self._in.reset(number, error.code)

    def _ignore(self, _flags: int, _number: int, _payload: bytes) -> None:  # unknown: 4.1, 5.5
        self._chatter.count()

    def _on_settings(self, flags: int, _number: int, payload: bytes) -> None:  # 6.5
        if len(payload) % wire.SETTING.size or (flags & wire.ACK and payload):
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        self._chatter.count()
        if flags & wire.ACK:
            self._in.acknowledged = True
            return
        self._configured = True
        for setting, value in wire.SETTING.iter_unpack(payload):  # in their order: 6.5.3
            if setting == wire.HEADER_TABLE_SIZE:
                self.out.table_off_due = True
            elif setting == wire.ENABLE_PUSH and value > 1:
                raise protocol_error("ENABLE_PUSH is 0 or 1")
            elif setting == wire.INITIAL_WINDOW_SIZE:
                self.out.set_initial_window(value)
            elif setting == wire.MAX_FRAME_SIZE:
                if not wire.LEAST_MAX_FRAME <= value <= wire.MOST_MAX_FRAME:
                    raise protocol_error("MAX_FRAME_SIZE out of range")
                self.out.max_frame = value
        # grpcio counts a larger window only from the acknowledgement on.
        self.out.frames.append(wire.frame(wire.SETTINGS, wire.ACK, 0))
        self.out.pump_blocked()

    def _on_push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:  # 6.6
        raise protocol_error("a client pushes nothing")

    def _on_ping(self, flags: int, _number: int, payload: bytes) -> None:  # 6.7
        self._chatter.count()
        if not flags & wire.ACK:
            self.out.frames.append(wire.frame(wire.PING, wire.ACK, 0, payload))

    def _on_goaway(self, _flags: int, _number: int, payload: bytes) -> None:  # 6.8
        if len(payload) < wire.LEAST_GOAWAY_BYTES:
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY cut off")
        self._chatter.count()  # it is about streams that we would open

    def _on_window_update(self, _flags: int, number: int, payload: bytes) -> None:  # 6.9
        self._chatter.count()
        increment = wire.UINT32.unpack(payload)[0] & wire.MAX_WINDOW
        stream = self.streams.get(number)
        if number and stream is None:
            self._in.refuse_idle(number)  # else closed: it may have crossed our END_STREAM
        elif increment:
            self.out.enlarge(stream, increment)
        elif stream is None:
            raise protocol_error("WINDOW_UPDATE of nothing")
        else:
            raise H2StreamError(ErrorCode.PROTOCOL_ERROR)

    def _check_times(self, now: float) -> None:
        if not self._in.acknowledged and now - self._opened > limits.HANDSHAKE_TIMEOUT:
            raise H2ConnectionError(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS ACK")  # 6.5.3
        begun = self._rest_since if self._rest else self._in.block_since
        if begun is not None and now - begun > limits.FRAME_TIMEOUT:
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "a frame that does not end")
        for stream in self.out.blocked.values():
            if stream.since is None:
                stream.since = now
        for stream in list(self.streams.values()):
            if stream.since is not None:
                patience = limits.SEND_TIMEOUT if stream.complete else limits.REQUEST_TIMEOUT
                if now - stream.since > patience:
                    self._in.reset(stream.id, ErrorCode.CANCEL)
        if not self.streams and now - self._rest_since > limits.IDLE_TIMEOUT:
            self.end()

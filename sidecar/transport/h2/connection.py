"""One HTTP/2 connection, seen from the server (RFC 9113): bytes in, events and bytes out.

No I/O, no clock: the caller hands over what arrived and when, serves the streams that it is told
of, and sends what ``take`` returns. Nothing that a peer sends raises an exception here.
"""

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.incoming import Chatter, Incoming
from sidecar.transport.h2.outgoing import DEFAULT_WINDOW, Outgoing
from sidecar.transport.h2.stream import Budget, Event, Stream
from sidecar.transport.h2.wire import (
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    ErrorCode,
    H2ConnectionError,
    H2StreamError,
)

_GREETING = wire.settings(
    {
        wire.MAX_CONCURRENT_STREAMS: limits.MAX_STREAMS,
        wire.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW,
        wire.MAX_HEADER_LIST_SIZE: limits.MAX_HEADER_BLOCK,
    }
) + wire.window_update(0, limits.CONNECTION_WINDOW - DEFAULT_WINDOW)


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
        self._handlers = {
            wire.DATA: self._in.on_data,
            wire.HEADERS: self._in.on_headers,
            wire.PRIORITY: self._on_priority,
            wire.RST_STREAM: self._in.on_rst_stream,
            wire.SETTINGS: self._on_settings,
            wire.PUSH_PROMISE: self._on_push_promise,
            wire.PING: self._on_ping,
            wire.GOAWAY: self._on_goaway,
            wire.WINDOW_UPDATE: self._on_window_update,
            wire.CONTINUATION: self._in.on_continuation,
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
            except H2ConnectionError as fault:
                self._fail(fault)
        return self._happened()

    def tick(self, now: float) -> list[tuple[Event, Stream]]:
        """See to what takes too long; to be called every ``limits.TICK`` seconds."""
        self._in.now = now
        self._chatter.forgive(limits.CHATTER_PER_SECOND)
        if self._goaway is None:
            try:
                self._check_times(now)
            except H2ConnectionError as fault:
                self._fail(fault)
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

    def _fail(self, fault: H2ConnectionError) -> None:
        self._goaway = wire.goaway(self._in.last, fault.code, fault.rule)
        self._rest = b""

    def _read(self, data: bytes) -> None:
        """Read the whole frames (4.1) of ``data``, keep the rest."""
        position = 0
        if not self._greeted:
            start = data[: len(wire.PREFACE)]
            if not wire.PREFACE.startswith(start):
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")  # 3.4
            if len(start) == len(wire.PREFACE):
                self._greeted = True
                position = len(start)
        end = len(data) if self._greeted else 0
        while end - position >= FRAME_HEADER_BYTES:
            length, flags, number = FRAME_HEADER.unpack_from(data, position)
            kind = length & 0xFF
            length >>= 8
            if length > limits.MAX_FRAME:
                raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a frame over MAX_FRAME_SIZE")
            start_of_payload = position + FRAME_HEADER_BYTES
            if start_of_payload + length > end:
                break
            position = start_of_payload + length
            self._take_frame(
                kind, flags, number & wire.MAX_STREAM_ID, data[start_of_payload:position]
            )
        if position or not self._rest:
            self._rest_since = self._in.now
        self._rest = data[position:]

    def _take_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self._configured and (kind != wire.SETTINGS or flags & wire.ACK):
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS come first")  # 3.4
        if self._in.block_since is not None and kind != wire.CONTINUATION:
            raise H2ConnectionError(
                ErrorCode.PROTOCOL_ERROR, "a frame within a header block"
            )  # 6.10
        handler = self._handlers.get(kind)
        if handler is None:
            self._chatter.count()  # unknown: 4.1, 5.5
            return
        try:
            handler(flags, number, payload)
        except H2StreamError as fault:
            self._in.reset(number, fault.code)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:  # 6.5
        if number:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
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
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            elif setting == wire.INITIAL_WINDOW_SIZE:
                self.out.set_initial_window(value)
            elif setting == wire.MAX_FRAME_SIZE:
                if not wire.LEAST_MAX_FRAME <= value <= wire.MOST_MAX_FRAME:
                    raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
                self.out.max_frame = value
        self.out.frames.append(wire.frame(wire.SETTINGS, wire.ACK, 0))
        self.out.pump_blocked()

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:  # 6.7
        if number:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != wire.PING_BYTES:
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "PING has 8 bytes")
        self._chatter.count()
        if not flags & wire.ACK:
            self.out.frames.append(wire.frame(wire.PING, wire.ACK, 0, payload))

    def _on_window_update(self, _flags: int, number: int, payload: bytes) -> None:  # 6.9
        if len(payload) != wire.UINT32.size:
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        self._chatter.count()
        increment = wire.UINT32.unpack(payload)[0] & wire.MAX_WINDOW
        stream = self.streams.get(number)
        if number and stream is None:
            self._in.refuse_idle(number)
            return  # it may have crossed our END_STREAM
        if not increment:
            if stream is None:
                raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            raise H2StreamError(ErrorCode.PROTOCOL_ERROR)
        self.out.enlarge(stream, increment)

    def _on_priority(self, _flags: int, number: int, payload: bytes) -> None:  # 6.3
        if not number:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != wire.PRIORITY_BYTES:
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has 5 bytes")
        self._chatter.count()  # and ignore: deprecated, 5.3.2

    def _on_push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:  # 6.6
        raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client pushes nothing")

    def _on_goaway(self, _flags: int, number: int, payload: bytes) -> None:  # 6.8
        if number:
            raise H2ConnectionError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < wire.LEAST_GOAWAY_BYTES:
            raise H2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has 8 bytes or more")
        self._chatter.count()  # and ignore: it is about streams that we would open

    def _check_times(self, now: float) -> None:
        if not self._in.acknowledged and now - self._opened > limits.HANDSHAKE_TIMEOUT:
            raise H2ConnectionError(
                ErrorCode.SETTINGS_TIMEOUT, "SETTINGS not acknowledged"
            )  # 6.5.3
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

"""A client with the h2 library, connected to our connection without a socket; raw frames."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from sidecar.transport.h2 import wire
from sidecar.transport.h2.account import Budget
from sidecar.transport.h2.connection import Connection
from sidecar.transport.h2.limits import CHECKS
from sidecar.transport.h2.protocol import H2Protocol
from sidecar.transport.h2.rpc import message_of
from sidecar.transport.h2.stream import Stream
from sidecar.transport.h2.turns import Turns
from sidecar.transport.interface import Methods

ECHO = "/test.Echo/Unary"

UNHURRIED = CHECKS._replace(turn=60.0)  # a turn ends when the work is done, not by the clock

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", ECHO),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


def prefixed(message: bytes) -> bytes:
    """Return a message with its gRPC prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def block(*more: tuple[str, str], headers: Sequence[tuple[str, str]] = HEADERS) -> bytes:
    """Return a header block that needs no dynamic table."""
    return hpack.Encoder().encode([*headers, *more])


_BLOCK = block()


def headers(number: int, *, end: bool = False, payload: bytes | None = None) -> bytes:
    """Return a HEADERS frame that opens a request."""
    flags = wire.END_HEADERS | (wire.END_STREAM if end else 0)
    return wire.frame(wire.HEADERS, flags, number, _BLOCK if payload is None else payload)


def data(number: int, body: bytes, *, end: bool = True) -> bytes:
    """Return a DATA frame."""
    return wire.frame(wire.DATA, wire.END_STREAM if end else 0, number, body)


def request(number: int, message: bytes = b"") -> bytes:
    """Return the frames of a complete call."""
    return headers(number) + data(number, prefixed(message))


GREETING = wire.PREFACE + wire.settings({})
ACKNOWLEDGED = GREETING + wire.frame(wire.SETTINGS, wire.ACK, 0)


def frames(octets: bytes) -> list[Frame]:
    """Parse frames with the hyperframe library."""
    found = []
    view = memoryview(octets)
    while view:
        one, length = Frame.parse_frame_header(view[:9])
        one.parse_body(view[9 : 9 + length])
        assert len(view) >= 9 + length, "the last frame is cut off"
        found.append(one)
        view = view[9 + length :]
    return found


def goaway_of(octets: bytes) -> GoAwayFrame:
    """Return the GOAWAY at the end of the output."""
    last = frames(octets)[-1]
    assert isinstance(last, GoAwayFrame)
    return last


def resets_of(octets: bytes) -> dict[int, int]:
    """Return the error code of each stream that was reset."""
    return {f.stream_id: f.error_code for f in frames(octets) if isinstance(f, RstStreamFrame)}


class Ours:
    """Our side of a connection; complete requests wait in ``requests`` for an answer."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.budget = Budget()
        self.connection = Connection(self.budget, now=0.0)
        self.requests: list[Stream] = []
        self.cancelled: list[int] = []
        self.sent = b""
        if greeting:
            self.feed(greeting)
            self.sent = b""

    def feed(self, octets: bytes, now: float = 0.0) -> None:
        """Pass input to the connection."""
        self._note(self.connection.receive(octets, now))
        while self.connection.unread:
            self._note(self.connection.receive(b"", now))

    def tick(self, now: float) -> None:
        """Advance the time."""
        self._note(self.connection.tick(now))

    def _note(self, streams: list[Stream]) -> None:
        for stream in streams:
            if stream.ending is None:
                self.requests.append(stream)
            else:
                self.cancelled.append(stream.id)
        self.sent += self.connection.sender.take()

    def answer(self, stream: Stream) -> None:
        """Answer a request with its own message."""
        if stream in self.requests:
            self.requests.remove(stream)
        if stream.id in self.connection.streams:
            message = message_of(stream.body, False)
            self.connection.sender.answer(stream, message)
            self.sent += self.connection.sender.take()

    def answer_all(self) -> None:
        """Answer all waiting requests."""
        for stream in self.requests.copy():
            self.answer(stream)

    def taken(self) -> bytes:
        """Return the output since the last call."""
        sent, self.sent = self.sent, b""
        return sent


class Client:
    """The h2 library as a client: it checks what it receives."""

    def __init__(self) -> None:
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True, header_encoding="utf-8", validate_inbound_headers=True
            )
        )
        self.bodies: dict[int, bytes] = {}
        self.statuses: dict[int, str] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.h2.initiate_connection()

    def receive(
        self, octets: bytes, *, acknowledge: Callable[[int], bool] = lambda _: True
    ) -> None:
        """Process the server's output; ``acknowledge`` selects the streams whose windows open."""
        for event in self.h2.receive_data(octets):
            self._note(event, acknowledge)

    def _note(self, event: Event, acknowledge: Callable[[int], bool]) -> None:
        if isinstance(event, DataReceived):
            assert event.stream_id is not None
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + (
                event.data or b""
            )
            if event.flow_controlled_length and acknowledge(event.stream_id):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, ResponseReceived | TrailersReceived):
            for name, value in event.headers or []:
                if str(name) == "grpc-status":
                    self.statuses[event.stream_id or 0] = str(value)
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id or 0)
        elif isinstance(event, StreamReset):
            self.reset[event.stream_id or 0] = int(event.error_code or 0)


class Serving(asyncio.Transport):
    """Our protocol with methods that return bytes, on a fake transport that keeps its frames."""

    def __init__(self, methods: Methods) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.budget = Budget(UNHURRIED)
        self._decoder = hpack.Decoder()
        self._blocks: dict[int, list[dict[str, str]]] = {}
        self._protocol = H2Protocol(methods, self.budget, Turns(), lambda _: True, lambda _: None)
        self._protocol.connection_made(self)
        self.feed(ACKNOWLEDGED)

    def feed(self, octets: bytes) -> None:
        """Pass input to the protocol."""
        self._protocol.data_received(octets)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignore the limits: all writes are complete."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        for frame in frames(bytes(data)):
            self.frames.append(frame)
            if isinstance(frame, HeadersFrame):
                fields = self._decoder.decode(frame.data)
                block = {str(name): str(value) for name, value in fields}
                self._blocks.setdefault(frame.stream_id, []).append(block)

    def answer_on(self, number: int) -> tuple[dict[str, str], bytes, dict[str, str]]:
        """Return headers, body and trailers of a complete answer."""
        ours = [frame for frame in self.frames if frame.stream_id == number]
        assert "END_STREAM" in ours[-1].flags
        assert not any("END_STREAM" in frame.flags for frame in ours[:-1])
        body = b"".join(frame.data for frame in ours if isinstance(frame, DataFrame))
        first, *rest = self._blocks[number]
        return first, body, rest[0] if rest else {}

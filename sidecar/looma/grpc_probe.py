"""One call of ``grpc.health.v1.Health/Check`` by hand, because a gRPC library costs each pod 9 MB.

The call (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) is one request on a new
HTTP/2 connection (RFC 9113) that ends with the answer's message, so neither header compression nor
flow control is needed: our headers are literals, theirs are not read.
"""

import asyncio
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME_BYTES = 16_384  # RFC 9113 section 4.2: what a peer may send unless told otherwise
MAX_FRAMES = 100  # a few settings, pings and headers, the message

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK, END_STREAM, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
STREAM = 1

# ServingStatus of grpc.health.v1, by number.
STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class Frame(NamedTuple):
    """One HTTP/2 frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


async def probe_grpc(host: str, port: int, service: str) -> str:
    """Return the name of the status that the server tells of ``service``.

    Raises OSError and EOFError where there is no connection or it ends, and ValueError for what is
    no gRPC answer, an error among them.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_request(f"{host}:{port}", service))
        message = b""
        for _ in range(MAX_FRAMES):
            frame = await _read_frame(reader)
            if frame.kind in (SETTINGS, PING) and not frame.flags & ACK:
                echo = frame.payload if frame.kind == PING else b""
                writer.write(_frame(frame.kind, ACK, 0, echo))
            elif frame.kind == GOAWAY:
                raise ValueError("the server closed the HTTP/2 connection")
            elif frame.stream == STREAM:
                message += _message_part(frame)
                if len(message) >= 5 and len(message) >= 5 + int.from_bytes(message[1:5]):
                    return _status(message)
                if frame.kind == RST_STREAM or frame.flags & END_STREAM:
                    raise ValueError("the server answered with a gRPC error")
        raise ValueError("no answer among the first frames")
    finally:
        writer.transport.abort()


def _request(authority: str, service: str) -> bytes:
    message = b"\x0a" + _counted(service) if service else b""
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    return (
        PREFACE
        + _frame(SETTINGS, 0, 0, b"")
        + _frame(HEADERS, END_HEADERS, STREAM, b"".join(_literal(*field) for field in headers))
        + _frame(DATA, END_STREAM, STREAM, b"\0" + len(message).to_bytes(4) + message)
    )


def _literal(name: str, value: str) -> bytes:
    """Return a field that is in no table (RFC 7541 section 6.2.2), without Huffman coding."""
    return b"\0" + _counted(name) + _counted(value)


def _counted(text: str) -> bytes:
    """Return a text behind its length in one byte, which is as much as HPACK puts there."""
    encoded = text.encode()
    if len(encoded) > 126:
        raise ValueError("a name of the probe is longer than 126 bytes")
    return bytes([len(encoded)]) + encoded


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    header = len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)
    return header + payload


async def _read_frame(reader: asyncio.StreamReader) -> Frame:
    header = await reader.readexactly(9)
    length = int.from_bytes(header[:3])
    if length > MAX_FRAME_BYTES:
        raise ValueError("this is no HTTP/2 server, or it ignores its limits")
    stream = int.from_bytes(header[5:]) & 0x7FFF_FFFF
    return Frame(header[3], header[4], stream, await reader.readexactly(length))


def _message_part(frame: Frame) -> bytes:
    """Return what a frame adds to the answer's message (nothing, unless it is DATA)."""
    if frame.kind != DATA:
        return b""
    if not frame.flags & PADDED:
        return frame.payload
    return frame.payload[1 : len(frame.payload) - frame.payload[0]] if frame.payload else b""


def _status(message: bytes) -> str:
    """Read a HealthCheckResponse, uncompressed: one enum, left out where it is 0."""
    fields = message[5:]
    if message[0] == 0 and not fields:
        return STATUSES[0]
    if message[0] != 0 or len(fields) != 2 or fields[0] != 0x08 or fields[1] not in STATUSES:
        raise ValueError("the answer is no HealthCheckResponse")
    return STATUSES[fields[1]]

"""One call of ``grpc.health.v1.Health/Check`` by hand, because a gRPC library costs each pod 9 MB.

The call (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) is one request on a new
HTTP/2 connection that ends with the answer's message. It needs neither header compression nor flow
control: it sends literals and does not read the answer's headers.
"""

import asyncio
from typing import NamedTuple

from sidecar.net.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    GOAWAY,
    HEADERS,
    LEAST_MAX_FRAME,
    MAX_STREAM_ID,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    literal,
)

MAX_FRAMES = 100  # a few settings, pings and headers, the message

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
    """Return the name of the server's status of ``service``.

    Raises OSError or EOFError where the connection fails or ends, and ValueError for a gRPC error
    or an answer that is not gRPC.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_request(f"{host}:{port}", service))
        message = b""
        for _ in range(MAX_FRAMES):
            read = await _read_frame(reader)
            if read.kind in (SETTINGS, PING) and not read.flags & ACK:
                writer.write(frame(read.kind, ACK, 0, read.payload if read.kind == PING else b""))
            elif read.kind == GOAWAY:
                raise ValueError("the server closed the HTTP/2 connection")
            elif read.stream == STREAM:
                message += _message_part(read)
                if len(message) >= 5 and len(message) >= 5 + int.from_bytes(message[1:5]):
                    return _status(message)
                if read.kind == RST_STREAM or read.flags & END_STREAM:
                    raise ValueError("the server answered with a gRPC error")
        raise ValueError(f"no answer within {MAX_FRAMES} frames")
    finally:
        writer.transport.abort()


def _request(authority: str, service: str) -> bytes:
    message = b"\x0a" + _counted(service) if service else b""
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", authority.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    return (
        PREFACE
        + frame(SETTINGS, 0, 0)
        + frame(HEADERS, END_HEADERS, STREAM, b"".join(literal(*field) for field in headers))
        + frame(DATA, END_STREAM, STREAM, b"\0" + len(message).to_bytes(4) + message)
    )


def _counted(text: str) -> bytes:
    """Return a text after its length in one byte, as protobuf encodes a short string."""
    encoded = text.encode()
    if len(encoded) > 126:
        raise ValueError("the service name of the probe is longer than 126 bytes")
    return bytes([len(encoded)]) + encoded


async def _read_frame(reader: asyncio.StreamReader) -> Frame:
    header = FRAME_HEADER.unpack(await reader.readexactly(FRAME_HEADER_BYTES))
    length, kind = header[0] >> 8, header[0] & 0xFF
    if length > LEAST_MAX_FRAME:
        raise ValueError("not an HTTP/2 server, or it exceeds the maximum frame size")
    return Frame(kind, header[1], header[2] & MAX_STREAM_ID, await reader.readexactly(length))


def _message_part(frame: Frame) -> bytes:
    """Return the part of the answer's message in a frame; empty unless it is DATA."""
    if frame.kind != DATA:
        return b""
    if not frame.flags & PADDED:
        return frame.payload
    return frame.payload[1 : len(frame.payload) - frame.payload[0]] if frame.payload else b""


def _status(message: bytes) -> str:
    """Parse a HealthCheckResponse, uncompressed: one enum, absent if it is 0."""
    fields = message[5:]
    if message[0] == 0 and not fields:
        return STATUSES[0]
    if message[0] != 0 or len(fields) != 2 or fields[0] != 0x08 or fields[1] not in STATUSES:
        raise ValueError("the answer is not a HealthCheckResponse")
    return STATUSES[fields[1]]

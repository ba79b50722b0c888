"""Frames and error codes of HTTP/2 (RFC 9113, sections 4, 6 and 7)."""

from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # 3.4
MAX_STREAM_ID = MAX_WINDOW = 2**31 - 1  # 5.1.1, 6.9.1
DEFAULT_WINDOW = 65_535  # 6.9.2
LEAST_MAX_FRAME, MOST_MAX_FRAME = 2**14, 2**24 - 1  # 6.5.2

FRAME_HEADER = Struct(">IBI")  # 4.1: length (24 bits) and type (8), flags, stream
FRAME_HEADER_BYTES = 9
UINT32 = Struct(">I")
SETTING = Struct(">HI")  # 6.5.1

# Types, section 6. Plain integers: they are compared for every frame.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

# Flags.
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

# Settings, 6.5.2.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6


class ErrorCode(IntEnum):
    """The error codes of section 7 that are used here."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class H2Error(Exception):
    """A rule that the peer broke, and the error code to send."""

    def __init__(self, rule: str, code: ErrorCode = ErrorCode.PROTOCOL_ERROR) -> None:
        super().__init__(rule)
        self.rule, self.code = rule, code


class H2ConnectionError(H2Error):
    """A connection error (5.4.1): the connection ends."""


class H2StreamError(H2Error):
    """A stream error (5.4.2): only the stream ends."""


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """Return a frame as it goes over the wire."""
    return FRAME_HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """Return a SETTINGS frame (6.5)."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*value) for value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame (6.9); stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, UINT32.pack(increment))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """Return a RST_STREAM frame (6.4)."""
    return frame(RST_STREAM, 0, stream, UINT32.pack(code))


def goaway(last: int, code: ErrorCode, rule: str = "") -> bytes:
    """Return a GOAWAY frame (6.8): streams up to ``last`` are or will be answered."""
    return frame(GOAWAY, 0, 0, UINT32.pack(last) + UINT32.pack(code) + rule.encode())


def unpadded(payload: bytes) -> bytes:
    """Strip the padding of PADDED DATA (6.1) or HEADERS (6.2). Raises H2ConnectionError."""
    if not payload:
        raise H2ConnectionError("PADDED frame without pad length", ErrorCode.FRAME_SIZE_ERROR)
    end = len(payload) - payload[0]
    if end < 1:
        raise H2ConnectionError("padding larger than the payload")
    return payload[1:end]

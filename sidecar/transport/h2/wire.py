"""Frames and error codes of HTTP/2 (RFC 9113, sections 4, 6 and 7)."""

from enum import IntEnum

from sidecar.net.http2 import *  # noqa: F403 -- wire is one name for all of it
from sidecar.net.http2 import (
    GOAWAY,
    RST_STREAM,
    SETTING,
    SETTINGS,
    UINT32,
    WINDOW_UPDATE,
    frame,
)


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

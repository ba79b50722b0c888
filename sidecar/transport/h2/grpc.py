"""What gRPC says in HTTP/2: the head and message of a request, the blocks of an answer.

Sources: RFC 9113, section 8, and https://github.com/grpc/grpc/blob/master/doc/ PROTOCOL-HTTP2.md,
compression.md and statuscodes.md.
"""

import re
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from sidecar.transport.h2.hpack import STATUS_200, Field, literal
from sidecar.transport.h2.wire import H2StreamError
from sidecar.transport.interface import RpcError

PREFIX = Struct(">BI")  # of a message: compressed or not, its length


class Status(IntEnum):
    """The gRPC statuses that this transport gives by itself."""

    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


# Header blocks that never change. A status may follow RESPONSE in one block: Trailers-Only.
RESPONSE = STATUS_200 + literal(b"content-type", b"application/grpc")
SUCCESS = literal(b"grpc-status", b"0")
METHOD_NOT_ALLOWED = literal(b":status", b"405") + literal(b"allow", b"POST")
UNSUPPORTED_MEDIA_TYPE = literal(b":status", b"415")


def status(error: RpcError) -> bytes:
    """Return the block that ends an answer by an error."""
    block = literal(b"grpc-status", b"%d" % error.code)
    block += literal(b"grpc-message", _escaped(error.message))
    if error.code == Status.UNIMPLEMENTED:  # compression.md: what would have been understood
        block += literal(b"grpc-accept-encoding", b"identity")
    return block


def _escaped(message: str) -> bytes:
    """Percent-encode as PROTOCOL-HTTP2.md wants it for grpc-message."""
    octets = message.strip().encode("utf-8", "replace")
    return b"".join(
        b"%c" % octet if 0x20 <= octet <= 0x7E and octet != 0x25 else b"%%%02X" % octet
        for octet in octets
    )


def message_of(body: bytes | bytearray | None, *, encoded: bool) -> bytes:
    """Return the one message that a request's body must hold. Raises RpcError.

    The body is None where it was too large; ``encoded``: the request named a compression.
    """
    if body is None:
        raise RpcError(Status.RESOURCE_EXHAUSTED, "the message is too large")
    if not body:
        raise RpcError(Status.UNIMPLEMENTED, "the method takes one message, none came")
    if len(body) < PREFIX.size:
        raise RpcError(Status.INTERNAL, "the body ends within a message")
    compressed, length = PREFIX.unpack_from(body)
    if compressed == 1 and encoded:
        raise RpcError(Status.UNIMPLEMENTED, "compressed messages are not supported")
    if compressed:
        raise RpcError(Status.INTERNAL, "a compressed message without grpc-encoding")
    if length > len(body) - PREFIX.size:
        raise RpcError(Status.INTERNAL, "the body ends within a message")
    if length < len(body) - PREFIX.size:
        raise RpcError(Status.UNIMPLEMENTED, "the method takes one message, more came")
    return bytes(memoryview(body)[PREFIX.size :])


class Head(NamedTuple):
    """A request's method and what bears on how it is answered."""

    path: str
    content_length: int | None
    timeout: float | None = None  # seconds
    encoded: bool = False  # grpc-encoding names a compression
    refusal: bytes | None = None  # no gRPC, or senseless: the block that answers it


_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch  # 8.2.1, no upper case: 8.2
_VALUE = re.compile(rb"(?![ \t])(?:[^\0\r\n]*[^\0\r\n \t])?").fullmatch  # 8.2.1
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})  # 8.3.1
_CONNECTION_SPECIFIC = frozenset(  # 8.2.2
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_TWICE = b","  # the value of a field that came twice: valid for none of those that are read

_CONTENT_TYPE = re.compile(rb"application/grpc(\+proto)?([ \t]*;.*)?", re.IGNORECASE).fullmatch
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_BAD_TIMEOUT = RESPONSE + status(RpcError(Status.INTERNAL, "malformed grpc-timeout"))


def read_head(fields: list[Field]) -> Head:
    """Read a request's header block. Raises H2StreamError where it is malformed (8.1.1)."""
    found: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if _is_pseudo(name, value):
            if regular or name in found:
                raise H2StreamError("a pseudo-header late or twice")  # 8.3
        else:
            regular = True
        found[name] = _TWICE if name in found else value
    path = found.get(b":path", b"")
    if not (found.get(b":method") and found.get(b":scheme") and path.startswith((b"/", b"*"))):
        raise H2StreamError("an incomplete request")  # 8.3.1
    if found[b":method"] == b"CONNECT":
        raise H2StreamError("CONNECT with a path")  # 8.5; without one it is as good as incomplete
    length = found.get(b"content-length")
    if length is not None and (not length.isdigit() or len(length) > 19):
        raise H2StreamError("content-length is no number")  # RFC 9110 8.6
    return _read_grpc(path.decode("latin-1"), None if length is None else int(length), found)


def check_trailers(fields: list[Field]) -> None:
    """Check the block after a request's body. Raises H2StreamError where it is malformed."""
    if any(_is_pseudo(name, value) for name, value in fields):
        raise H2StreamError("a pseudo-header in trailers")  # 8.1


def _is_pseudo(name: bytes, value: bytes) -> bool:
    """Whether a field is a pseudo-header. Raises H2StreamError where it is malformed."""
    # With tracing, blocks differ in one field; the others are judged once.
    return _judged(name, value) if len(name) + len(value) <= _SHORT else _judge(name, value)


_SHORT = 128  # bytes


def _judge(name: bytes, value: bytes) -> bool:
    pseudo = name in _PSEUDO
    if not _VALUE(value) or not (pseudo or _NAME(name)):
        raise H2StreamError("a field's name or value")  # 8.2.1
    if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
        raise H2StreamError("a field that HTTP/2 does not know")  # 8.2.2
    return pseudo


_judged = lru_cache(maxsize=256)(_judge)


def _read_grpc(path: str, length: int | None, found: dict[bytes, bytes]) -> Head:
    if found[b":method"] != b"POST":
        return Head(path, length, refusal=METHOD_NOT_ALLOWED)
    if not _CONTENT_TYPE(found.get(b"content-type", b"")):
        return Head(path, length, refusal=UNSUPPORTED_MEDIA_TYPE)
    timeout = None
    if (text := found.get(b"grpc-timeout")) is not None:
        parts = _TIMEOUT(text)
        if parts is None:
            return Head(path, length, refusal=_BAD_TIMEOUT)
        timeout = int(parts[1]) * _UNITS[parts[2]]
    encoded = found.get(b"grpc-encoding", b"identity") != b"identity"
    return Head(path, length, timeout, encoded)

"""What the header block of a request says: HTTP's rules (RFC 9113, section 8), then gRPC's."""

import re
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from sidecar.transport.h2.answers import METHOD_NOT_ALLOWED, PLAIN_BODY, UNSUPPORTED_MEDIA_TYPE
from sidecar.transport.h2.hpack import Field
from sidecar.transport.h2.wire import ErrorCode, H2StreamError


class Head(NamedTuple):
    """A request's method and what bears on how it is answered."""

    path: str
    timeout: float | None = None  # seconds
    content_length: int | None = None
    encoded: bool = False  # grpc-encoding names a compression
    plain: tuple[bytes, bytes] | None = None  # no gRPC: the header block and body that say so
    problem: str | None = None  # gRPC, but senseless


_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch  # 8.2.1, no upper case: 8.2
_VALUE = re.compile(rb"(?![ \t])(?:[^\0\r\n]*[^\0\r\n \t])?").fullmatch  # 8.2.1
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})  # 8.3.1
_CONNECTION_SPECIFIC = frozenset(  # 8.2.2
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_READ = frozenset({b"content-type", b"content-length", b"grpc-timeout", b"grpc-encoding"})

_CONTENT_TYPE = re.compile(rb"application/grpc(\+proto)?([ \t]*;.*)?", re.IGNORECASE).fullmatch
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def read_head(fields: list[Field]) -> Head:
    """Read a request's header block. Raises H2StreamError where it is malformed (8.1.1)."""
    pseudo: dict[bytes, bytes] = {}
    found: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        kind = _kind(name, value)
        if kind is _Kind.PSEUDO:
            if regular or name in pseudo:  # 8.3
                raise H2StreamError(ErrorCode.PROTOCOL_ERROR)
            pseudo[name] = value
            continue
        regular = True
        if kind is _Kind.READ:  # doubles are one list (RFC 9110 5.3), which none of these is
            found[name] = found[name] + b", " + value if name in found else value
        elif kind is _Kind.WRONG:
            raise H2StreamError(ErrorCode.PROTOCOL_ERROR)
    path = _target(pseudo)
    return _grpc(pseudo[b":method"], path, _content_length(found), found)


def check_trailers(fields: list[Field]) -> None:
    """Check the block after a request's body. Raises H2StreamError where it is malformed."""
    if any(_kind(name, value) in {_Kind.PSEUDO, _Kind.WRONG} for name, value in fields):  # 8.1
        raise H2StreamError(ErrorCode.PROTOCOL_ERROR)


class _Kind(Enum):
    """What a field is to a request."""

    WRONG = auto()
    PSEUDO = auto()
    READ = auto()
    OTHER = auto()


def _kind(name: bytes, value: bytes) -> _Kind:
    # With tracing, blocks differ in one field; the others are judged once.
    return _judged(name, value) if len(name) + len(value) <= _SHORT else _judge(name, value)


_SHORT = 128  # bytes


def _judge(name: bytes, value: bytes) -> _Kind:
    if not _VALUE(value):
        return _Kind.WRONG
    if name in _PSEUDO:
        return _Kind.PSEUDO
    if not _NAME(name) or name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
        return _Kind.WRONG
    return _Kind.READ if name in _READ else _Kind.OTHER


_judged = lru_cache(maxsize=256)(_judge)


def _target(pseudo: dict[bytes, bytes]) -> str:
    """Return the path of a request whose pseudo-headers are complete (8.3.1, 8.5)."""
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if method == b"CONNECT":
        complete = path is None and b":scheme" not in pseudo and b":authority" in pseudo
    else:
        asterisk = method == b"OPTIONS" and path == b"*"
        complete = bool(method and path and pseudo.get(b":scheme")) and (
            asterisk or (path or b"").startswith(b"/")
        )
    if not complete:
        raise H2StreamError(ErrorCode.PROTOCOL_ERROR)
    return (path or b"").decode("latin-1")


def _content_length(found: dict[bytes, bytes]) -> int | None:
    text = found.get(b"content-length")
    if text is None:
        return None
    if not text.isdigit() or len(text) > 19:  # RFC 9110 8.6
        raise H2StreamError(ErrorCode.PROTOCOL_ERROR)
    return int(text)


def _grpc(method: bytes, path: str, length: int | None, found: dict[bytes, bytes]) -> Head:
    if method != b"POST":
        body = b"" if method == b"HEAD" else PLAIN_BODY
        return Head(path, content_length=length, plain=(METHOD_NOT_ALLOWED, body))
    if not _CONTENT_TYPE(found.get(b"content-type", b"")):
        return Head(path, content_length=length, plain=(UNSUPPORTED_MEDIA_TYPE, PLAIN_BODY))
    encoded = found.get(b"grpc-encoding", b"identity") != b"identity"
    timeout = None
    if (text := found.get(b"grpc-timeout")) is not None:
        parts = _TIMEOUT(text)
        if parts is None:
            return Head(path, content_length=length, problem="malformed grpc-timeout")
        timeout = int(parts[1]) * _UNITS[parts[2]]
    return Head(path, timeout, length, encoded)

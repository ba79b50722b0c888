"""gRPC over HTTP/2: the head and message of a request, the header blocks of an answer.

Sources: RFC 9113, section 8, and https://github.com/grpc/grpc/blob/master/doc/ PROTOCOL-HTTP2.md,
compression.md and statuscodes.md.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from struct import Struct
from urllib.parse import quote

from sidecar.core.traced import Traced, sent
from sidecar.transport.h2.hpack import STATUS_200, Field, literal
from sidecar.transport.h2.limits import MAX_PATH
from sidecar.transport.h2.wire import H2StreamError
from sidecar.transport.interface import RpcError

PREFIX = Struct(">BI")  # of a message: compressed flag, length
PREFIX_BYTES = 5

# The status codes that this transport sends by itself.
DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 4, 8, 12, 13, 14

# Constant header blocks. RESPONSE and a status in one block are Trailers-Only.
RESPONSE = STATUS_200 + literal(b"content-type", b"application/grpc")
SUCCESS = literal(b"grpc-status", b"0")
METHOD_NOT_ALLOWED = literal(b":status", b"405") + literal(b"allow", b"POST")
UNSUPPORTED_MEDIA_TYPE = literal(b":status", b"415")
PLAIN_BODY = b"This is a gRPC server: use POST with content-type application/grpc.\n"


_UNESCAPED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def status(error: RpcError) -> bytes:
    """Return the header block that ends an answer with an error."""
    message = quote(error.message.strip(), _UNESCAPED, errors="replace")
    block = literal(b"grpc-status", b"%d" % error.code)
    block += literal(b"grpc-message", message.encode("ascii"))
    if error.code == UNIMPLEMENTED:  # compression.md: the supported encodings
        block += literal(b"grpc-accept-encoding", b"identity")
    return block


def message_of(body: bytes | bytearray | None, encoded: bool) -> bytes:
    """Return the one message that a request's body must contain. Raises RpcError.

    The body is None if it was too large. ``encoded``: the request named a compression.
    """
    if body is None:
        raise RpcError(RESOURCE_EXHAUSTED, "the message is too large")
    size = len(body) - PREFIX_BYTES
    if size < 0:
        if not body:
            raise RpcError(UNIMPLEMENTED, "expected one message, received none")
        raise RpcError(INTERNAL, "truncated message")
    compressed, length = PREFIX.unpack_from(body)
    if compressed:
        if encoded and compressed == 1:
            raise RpcError(UNIMPLEMENTED, "compressed messages are not supported")
        raise RpcError(INTERNAL, "compressed message without grpc-encoding")
    if length != size:
        if length > size:
            raise RpcError(INTERNAL, "truncated message")
        raise RpcError(UNIMPLEMENTED, "expected one message, received more")
    return bytes(body[PREFIX_BYTES:])


@dataclass(frozen=True, slots=True)
class Head:
    """The parts of a request's headers that matter for its answer."""

    path: str
    content_length: int | None
    timeout: float | None = None  # seconds
    encoded: bool = False  # grpc-encoding names a compression
    refusal: tuple[bytes, bytes] | None = None  # not gRPC, or invalid: the answer's block and body
    trace: Traced | None = None


_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch  # 8.2.1; no upper case, 8.2
_SHORT_VALUE = re.compile(rb"(?![ \t])(?:[^\0\r\n]*[^\0\r\n \t])?").fullmatch  # 8.2.1
_BLANK = b" \t"
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})  # 8.3.1
_CONNECTION_SPECIFIC = frozenset(  # 8.2.2
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_TWICE = b","  # the value of a repeated field: invalid for every field that is read

_SHORT = 128  # bytes of a field that is cached: with tracing, all fields except one or two

_CONTENT_TYPE = re.compile(rb"application/grpc(\+proto)?([ \t]*;.*)?", re.IGNORECASE).fullmatch
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_BAD_TIMEOUT = RESPONSE + status(RpcError(INTERNAL, "malformed grpc-timeout"))


def _is_long_value(value: bytes) -> bool:
    """Whether a field value is valid (8.2.1), checked without a regular expression.

    A long field in the table costs its sender only one byte per use, so this must be fast.
    """
    whole = not (b"\0" in value or b"\r" in value or b"\n" in value)
    return whole and value[0] not in _BLANK and value[-1] not in _BLANK


@lru_cache(maxsize=256)
def _is_pseudo(name: bytes, value: bytes) -> bool:
    """Whether a field is a pseudo-header. Raises H2StreamError if it is malformed."""
    pseudo = name in _PSEUDO
    fit = _SHORT_VALUE(value) if len(value) <= _SHORT else _is_long_value(value)
    if not fit or not (pseudo or _NAME(name)):
        raise H2StreamError("invalid field name or value")  # 8.2.1
    if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
        raise H2StreamError("connection-specific field")  # 8.2.2
    return pseudo


def check_trailers(fields: list[Field]) -> None:
    """Check a request's trailers. Raises H2StreamError if they are malformed."""
    if any(_is_pseudo.__wrapped__(*field) for field in fields):
        raise H2StreamError("pseudo-header in trailers")  # 8.1


def read_head(fields: list[Field]) -> Head:
    """Read a request's headers. Raises H2StreamError if they are malformed (8.1.1)."""
    found: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        short = len(name) + len(value) <= _SHORT
        if not (_is_pseudo if short else _is_pseudo.__wrapped__)(name, value):
            regular = True
        elif regular or name in found:
            raise H2StreamError("misplaced or duplicate pseudo-header")  # 8.3
        found[name] = _TWICE if name in found else value
    method, path = found.get(b":method"), found.get(b":path", b"")
    of_server = (method, path) == (b"OPTIONS", b"*")
    if not (method and found.get(b":scheme") and (path.startswith(b"/") or of_server)):
        raise H2StreamError("missing or invalid pseudo-header")  # 8.3.1
    if method == b"CONNECT":
        raise H2StreamError("CONNECT with a path")  # 8.5; without a path it is incomplete
    text = found.get(b"content-length")
    if text is not None and (not text.isdigit() or len(text) > 19):
        raise H2StreamError("invalid content-length")  # RFC 9110 8.6
    # A path in the table costs the peer one byte, and many waiting streams may keep it.
    method_name = path.decode("latin-1") if len(path) <= MAX_PATH else ""
    head = Head(method_name, None if text is None else int(text))
    if method != b"POST":
        body = b"" if method == b"HEAD" else PLAIN_BODY
        return replace(head, refusal=(METHOD_NOT_ALLOWED, body))
    if not _CONTENT_TYPE(found.get(b"content-type", b"")):
        return replace(head, refusal=(UNSUPPORTED_MEDIA_TYPE, PLAIN_BODY))
    timeout = None
    if (text := found.get(b"grpc-timeout")) is not None:
        parts = _TIMEOUT(text)
        if parts is None:
            return replace(head, refusal=(_BAD_TIMEOUT, b""))
        timeout = int(parts[1]) * _UNITS[parts[2]]
    encoded = found.get(b"grpc-encoding", b"identity") != b"identity"
    trace = sent(found.get(b"traceparent"), found.get(b"tracestate", b""))
    return Head(head.path, head.content_length, timeout, encoded, None, trace)

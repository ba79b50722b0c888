"""What gRPC puts into HTTP/2: statuses, messages, refusals.

Sources: https://github.com/grpc/grpc/blob/master/doc/ PROTOCOL-HTTP2.md, compression.md and
statuscodes.md.
"""

from enum import IntEnum
from struct import Struct

from sidecar.transport.h2.hpack import Field, encode
from sidecar.transport.interface import RpcError

PREFIX = Struct(">BI")  # of a message: compressed or not, its length
PREFIX_BYTES = 5


class Status(IntEnum):
    """The gRPC statuses that this transport gives by itself."""

    OK = 0
    UNKNOWN = 2
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


_OK_200 = (b":status", b"200")
_GRPC = (b"content-type", b"application/grpc")

# Header blocks that never change.
RESPONSE = encode((_OK_200, _GRPC))
TRAILERS = encode(((b"grpc-status", b"0"),))

# Answers to what is no gRPC request at all: a header block and a body for a person.
PLAIN_BODY = b"This is a gRPC server: POST with content-type application/grpc.\n"
_PLAIN = (b"content-type", b"text/plain")
METHOD_NOT_ALLOWED = encode(((b":status", b"405"), (b"allow", b"POST"), _PLAIN))
UNSUPPORTED_MEDIA_TYPE = encode(((b":status", b"415"), _PLAIN))


def _status(error: RpcError) -> list[Field]:
    fields = [(b"grpc-status", b"%d" % error.code)]
    if error.message:
        fields.append((b"grpc-message", _escaped(error.message)))
    if error.code == Status.UNIMPLEMENTED:  # compression.md: what would have been understood
        fields.append((b"grpc-accept-encoding", b"identity"))
    return fields


def trailers_only(error: RpcError) -> bytes:
    """Return the header block of an answer that is nothing but an error."""
    return encode((_OK_200, _GRPC, *_status(error)))


def trailers(error: RpcError) -> bytes:
    """Return the block that ends an answer by an error after it has begun."""
    return encode(_status(error))


def _escaped(message: str) -> bytes:
    """Percent-encode as PROTOCOL-HTTP2.md wants it for grpc-message."""
    octets = message.strip().encode("utf-8", "replace")
    return b"".join(
        b"%c" % octet if 0x20 <= octet <= 0x7E and octet != 0x25 else b"%%%02X" % octet
        for octet in octets
    )


def message_of(body: bytes | bytearray, *, encoded: bool) -> bytes:
    """Return the one message that a request's body must hold; ``encoded``: it named a compression.

    Raises RpcError.
    """
    if not body:
        raise RpcError(Status.UNIMPLEMENTED, "the method takes one message, none came")
    if len(body) < PREFIX_BYTES:
        raise RpcError(Status.INTERNAL, "the body ends within a message")
    compressed, length = PREFIX.unpack_from(body)
    if compressed == 1 and encoded:
        raise RpcError(Status.UNIMPLEMENTED, "compressed messages are not supported")
    if compressed:
        raise RpcError(Status.INTERNAL, "a compressed message without grpc-encoding")
    if length > len(body) - PREFIX_BYTES:
        raise RpcError(Status.INTERNAL, "the body ends within a message")
    if length < len(body) - PREFIX_BYTES:
        raise RpcError(Status.UNIMPLEMENTED, "the method takes one message, more came")
    return bytes(memoryview(body)[PREFIX_BYTES:])

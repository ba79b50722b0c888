"""Bounds of a CheckRequest, checked before protobuf makes objects of it.

A MiB has room for half a million headers of two bytes each, and protobuf makes an object of each.
So the outer fields of a message that is not small are counted first, up to their bounds.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias, Union

from sidecar.transport.interface import MAX_MESSAGE_BYTES

# Messages up to so many bytes are not examined: nearly all are smaller, and too small to exceed a
# bound in bytes below.
SMALL = 8 * 1024

# In both maps. Envoy accepts 100 by default, and at most 60 KiB of them, so no more than these.
MAX_HEADERS = 10_240
MAX_NAME = 8 * 1024  # bytes of a header's name; no standard one has 50
MAX_CONTEXT_BYTES = 16 * 1024  # of context_extensions, which an operator writes by hand
MAX_PEER_BYTES = 64 * 1024  # of source and destination: an address, and perhaps a certificate
MAX_FIELDS = MAX_HEADERS + 1000  # that are examined; in a map of cleaned headers each is a field


class CheckProblem(StrEnum):
    """Problems of a CheckRequest; clients read the text in messages.py."""

    NOT_A_CHECK_REQUEST = "not_a_check_request"
    UNEXPECTED_FIELD = "unexpected_field"
    NO_HTTP_ATTRIBUTES = "no_http_attributes"
    NO_SINGLE_PATH = "no_single_path"
    TOO_LARGE = "message_too_large"
    TOO_MANY_FIELDS = "too_many_fields"
    TOO_MANY_HEADERS = "too_many_headers"
    HEADER_NAME_TOO_LONG = "header_name_too_long"
    PEER_TOO_LARGE = "peer_too_large"
    CONTEXT_TOO_LARGE = "context_too_large"


class MalformedCheckError(Exception):
    """The bytes are not a CheckRequest about an HTTP request, or one that is too large."""

    def __init__(self, problem: CheckProblem) -> None:
        super().__init__(problem)
        self.problem = problem


_VARINT, _LENGTH_DELIMITED = 0, 2  # wire types
_FIXED = {1: 8, 5: 4}  # wire types of a fixed size, in bytes

# The fields that are examined, by tag: the fields inside, or the kind of the field.
_Fields: TypeAlias = Mapping[int, Union["_Fields", str]]

_HTTP: _Fields = {0x6A: "header map"}
_ATTRIBUTES: _Fields = {0x0A: "peer", 0x12: "peer", 0x22: {0x12: _HTTP}, 0x52: "context"}
_CHECK_REQUEST: _Fields = {0x0A: _ATTRIBUTES}

# In a HeaderMap each header begins with this byte, and so does its name; lengths may be equal to
# it. Protobuf makes no more objects than there are such bytes.
_NEW_LINE = b"\x0a"
_NEW_LINES_A_HEADER = 5


def bounded(message: bytes) -> None:
    """Check the bounds of a CheckRequest. Raises MalformedCheckError."""
    size = len(message)
    if size <= SMALL:
        return
    if size > MAX_MESSAGE_BYTES:
        raise MalformedCheckError(CheckProblem.TOO_LARGE)
    fields = context = 0
    entered: list[tuple[int, int, _Fields]] = [(0, size, _CHECK_REQUEST)]
    while entered:
        position, end, known = entered.pop()
        while position < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise MalformedCheckError(CheckProblem.TOO_MANY_FIELDS)
            tag, position = _varint(message, position, end)
            if tag & 7 != _LENGTH_DELIMITED:
                position = _skipped(message, position, end, tag & 7)
                continue
            length, start = _varint(message, position, end)
            position = start + length
            if position > end:
                raise MalformedCheckError(CheckProblem.NOT_A_CHECK_REQUEST)
            inner = known.get(tag)
            if inner == "header map":
                most = _NEW_LINES_A_HEADER * MAX_HEADERS
                if message.count(_NEW_LINE, start, position) > most:
                    raise MalformedCheckError(CheckProblem.TOO_MANY_HEADERS)
            elif inner == "peer":
                if length > MAX_PEER_BYTES:
                    raise MalformedCheckError(CheckProblem.PEER_TOO_LARGE)
            elif inner == "context":
                context += length
                if context > MAX_CONTEXT_BYTES:
                    raise MalformedCheckError(CheckProblem.CONTEXT_TOO_LARGE)
            elif isinstance(inner, Mapping):
                entered.append((start, position, inner))


def _varint(message: bytes, position: int, end: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        octet = message[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
    raise MalformedCheckError(CheckProblem.NOT_A_CHECK_REQUEST)


def _skipped(message: bytes, position: int, end: int, kind: int) -> int:
    """Return the position after a field that holds a number."""
    if kind == _VARINT:
        return _varint(message, position, end)[1]
    if kind not in _FIXED:  # a group, perhaps: protobuf skips them, and Envoy sends none
        raise MalformedCheckError(CheckProblem.UNEXPECTED_FIELD)
    position += _FIXED[kind]
    if position > end:
        raise MalformedCheckError(CheckProblem.NOT_A_CHECK_REQUEST)
    return position

"""Parts of a CheckResponse that allows, in protobuf's wire format.

They are written by hand, because protobuf's objects take four times as long. A length-delimited
field is its tag, which is (field number << 3) | 2, its length as a varint, and its payload:
https://protobuf.dev/programming-guides/encoding. A test compares these bytes with protobuf's own.
"""

from collections.abc import Iterable
from functools import lru_cache
from struct import pack

# Fields of a CheckResponse; an empty Status is OK.
_STATUS_OK = b"\x0a\x00"
_OK_RESPONSE = b"\x1a"
_DYNAMIC_METADATA = b"\x22"

# Fields of an OkHttpResponse.
_HEADERS = b"\x12"
_HEADERS_TO_REMOVE = b"\x2a"
_QUERY_PARAMETERS_TO_REMOVE = b"\x42"

# Fields of a HeaderValueOption; this append_action is OVERWRITE_IF_EXISTS_OR_ADD.
_HEADER = b"\x0a"
_OVERWRITE = b"\x18\x02"

# Fields of a Struct, and of a Value in it.
_FIELDS = b"\x0a"
_NUMBER_VALUE = b"\x11"  # eight bytes, without a length
_STRING_VALUE = b"\x1a"
_STRUCT_VALUE = b"\x2a"

# Fields of a HeaderValue, and of an entry of a map.
_KEY = b"\x0a"
_VALUE = b"\x12"

# Cached beginnings: there are few names, and most values are short.
_MAX_BEGINNINGS = 1024


def allow(parts: bytes, metadata: bytes) -> bytes:
    """Return a CheckResponse with status OK; its parts are of the functions below."""
    answer = _field(_OK_RESPONSE, parts)
    return _STATUS_OK + answer + _field(_DYNAMIC_METADATA, metadata)


def ok_response(parts: Iterable[bytes]) -> bytes:
    """Return an addition to a CheckResponse: protobuf merges messages that follow each other."""
    return _field(_OK_RESPONSE, b"".join(parts))


def headers(pairs: Iterable[tuple[str, str]]) -> list[bytes]:
    """Return what sets each header of a request, replacing any of that name.

    Raises TypeError where a value is empty or not text.
    """
    parts = []
    for name, value in pairs:
        encoded = str.encode(value)  # raises unless it is text
        if not encoded:
            raise TypeError("a header's value must be a non-empty string")
        parts.append(_before_value(name, len(encoded)) + encoded + _OVERWRITE)
    return parts


def removals(names: Iterable[str]) -> list[bytes]:
    """Return what removes each header of a request."""
    return [_field(_HEADERS_TO_REMOVE, name.encode()) for name in names]


def query_removals(names: Iterable[str]) -> list[bytes]:
    """Return what removes each parameter of a request's query."""
    return [_field(_QUERY_PARAMETERS_TO_REMOVE, name.encode()) for name in names]


def entry(name: str, value: bytes) -> bytes:
    """Return an entry of dynamic metadata; ``value`` is UTF-8."""
    return _before_text(name, len(value)) + value


def remember(milliseconds: int, identity: Iterable[tuple[str, str]]) -> bytes:
    """Return an addition to a CheckResponse: how long an allow may be remembered, what it sets."""
    value = _field(_VALUE, _NUMBER_VALUE + pack("<d", milliseconds))
    metadata = _field(_FIELDS, _field(_KEY, b"remember_ms") + value)
    fields = b"".join([entry(name, value.encode()) for name, value in identity])
    if fields:
        value = _field(_VALUE, _field(_STRUCT_VALUE, fields))
        metadata += _field(_FIELDS, _field(_KEY, b"identity") + value)
    return _field(_DYNAMIC_METADATA, metadata)


@lru_cache(_MAX_BEGINNINGS)
def route_metadata(reason: str, name: str, target: str) -> tuple[bytes, bytes]:
    """Return the metadata of an allow by a route: what is before a subject, and what is after.

    Entries are sorted by name, as in protobuf's deterministic serialisation.
    """
    before = entry("reason", reason.encode()) + entry("route", name.encode())
    return before, entry("target", target.encode())


@lru_cache(_MAX_BEGINNINGS)
def before_decision_id(length: int) -> bytes:
    """Return an addition to a CheckResponse up to a decision id of that many bytes."""
    metadata = _field(_DYNAMIC_METADATA, entry("decision_id", bytes(length)))
    return metadata.removesuffix(bytes(length))


@lru_cache(_MAX_BEGINNINGS)
def _before_value(name: str, length: int) -> bytes:
    """Return what sets a header, up to a value of that many bytes."""
    pair = _field(_HEADER, _field(_KEY, name.encode()) + _field(_VALUE, bytes(length)))
    return _field(_HEADERS, pair + _OVERWRITE).removesuffix(bytes(length) + _OVERWRITE)


@lru_cache(_MAX_BEGINNINGS)
def _before_text(name: str, length: int) -> bytes:
    """Return an entry of metadata up to a text of that many bytes."""
    value = _field(_VALUE, _field(_STRING_VALUE, bytes(length)))
    return _field(_FIELDS, _field(_KEY, name.encode()) + value).removesuffix(bytes(length))


def _field(tag: bytes, payload: bytes) -> bytes:
    """Return a length-delimited field."""
    return tag + _varint(len(payload)) + payload


@lru_cache(_MAX_BEGINNINGS)
def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)

"""Envoy's own API, as the program under test carries it: each message with its fields."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.internal.decoder import _DecodeVarint  # type: ignore[attr-defined]  # -- untyped

from demo.envoy import program

_FILE = re.compile(rb"\x0a[\x10-\x7f]((?:envoy|xds|udpa)/[a-z0-9_/.]+?\.proto)")
_VARINT, _BYTES = 0, 2  # wire types
_LAST = 12  # `syntax`, the last field of a serialised FileDescriptorProto


@cache
def messages() -> Mapping[str, Mapping[str, FieldDescriptorProto]]:
    """Return the fields of each message by its full name, read from Envoy's program file."""
    data = program().read_bytes()
    found: dict[str, Mapping[str, FieldDescriptorProto]] = {}
    for match in _FILE.finditer(data):
        if data[match.start() + 1] != len(match[1]):
            continue
        text = data[match.start() : _end(data, match.start())]
        try:
            file = FileDescriptorProto.FromString(text)
        except ValueError:
            continue  # only the name, in some other table
        found |= chain.from_iterable(_below(file.package, each) for each in file.message_type)
    return found


def _below(
    prefix: str, message: DescriptorProto
) -> Iterator[tuple[str, Mapping[str, FieldDescriptorProto]]]:
    name = f"{prefix}.{message.name}"
    yield name, {field.name: field for field in message.field}
    for inner in message.nested_type:
        yield from _below(name, inner)


def _end(data: bytes, start: int) -> int:
    """Return where a serialised FileDescriptorProto ends: Envoy keeps no length beside it."""
    position = start
    while position < len(data):
        tag, after = _DecodeVarint(data, position)
        number, kind = tag >> 3, tag & 7
        known = 1 <= number <= 14 and kind in {_VARINT, _BYTES}
        if not known or (number == 1 and position > start):
            break
        size, after = _DecodeVarint(data, after)
        position = after + (size if kind == _BYTES else 0)
        if number == _LAST:
            break
    return position

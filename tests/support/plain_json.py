"""A small strict JSON reader, written from RFC 8259 and design 8, to compare ours with."""

import math
import re
from typing import Any

MAX_DEPTH = 16
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
WORDS = {"null": None, "true": True, "false": False}


class PlainJsonError(Exception):
    """Not JSON, or JSON that the rule refuses."""


def parse(document: bytes) -> Any:
    """Return the document's value."""
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PlainJsonError("not UTF-8") from error
    value, at = _value(text, _space(text, 0), 0)
    if _space(text, at) != len(text):
        raise PlainJsonError("more than one value")
    return value


def _space(text: str, at: int) -> int:
    while text[at : at + 1] in {" ", "\t", "\r", "\n"}:
        at += 1
    return at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at + 1)
    if first in {"{", "["}:
        if depth == MAX_DEPTH:
            raise PlainJsonError("too deep")
        return (_object if first == "{" else _list)(text, _space(text, at + 1), depth + 1)
    for word, value in WORDS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    number = NUMBER.match(text, at)
    if number is None:
        raise PlainJsonError("no value")
    if number[1] or number[2]:
        if math.isinf(float(number[0])):
            raise PlainJsonError("too large")
        return float(number[0]), number.end()
    if len(number[0]) > 64:
        raise PlainJsonError("too many digits")
    return int(number[0]), number.end()


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    if text[at : at + 1] == "}":
        return members, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise PlainJsonError("no key")
        name, at = _string(text, at + 1)
        if name in members:
            raise PlainJsonError("a key twice")
        at = _space(text, at)
        if text[at : at + 1] != ":":
            raise PlainJsonError("no colon")
        members[name], at = _value(text, _space(text, at + 1), depth)
        at = _space(text, at)
        if text[at : at + 1] == "}":
            return members, at + 1
        if text[at : at + 1] != ",":
            raise PlainJsonError("no comma")
        at = _space(text, at + 1)


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    if text[at : at + 1] == "]":
        return items, at + 1
    while True:
        item, at = _value(text, at, depth)
        items.append(item)
        at = _space(text, at)
        if text[at : at + 1] == "]":
            return items, at + 1
        if text[at : at + 1] != ",":
            raise PlainJsonError("no comma")
        at = _space(text, at + 1)


def _string(text: str, at: int) -> tuple[str, int]:
    units: list[int] = []  # UTF-16, as the escapes are written
    while at < len(text):
        character = text[at]
        if character == '"':
            try:
                return b"".join(unit.to_bytes(2) for unit in units).decode("utf-16-be"), at + 1
            except UnicodeDecodeError as error:
                raise PlainJsonError("half a pair") from error
        if character < " ":
            raise PlainJsonError("a control character")
        if character != "\\":
            octets = character.encode("utf-16-be")
            units += [int.from_bytes(octets[n : n + 2]) for n in range(0, len(octets), 2)]
            at += 1
        elif text[at + 1 : at + 2] == "u":
            if not re.fullmatch("[0-9a-fA-F]{4}", text[at + 2 : at + 6]):
                raise PlainJsonError("no code")
            units.append(int(text[at + 2 : at + 6], 16))
            at += 6
        elif text[at + 1 : at + 2] in ESCAPES:
            units.append(ord(ESCAPES[text[at + 1]]))
            at += 2
        else:
            raise PlainJsonError("an unknown escape")
    raise PlainJsonError("a string without end")

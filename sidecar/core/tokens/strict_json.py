"""Strict JSON (RFC 8259, RFC 7493): refuses what two readers could read differently."""

import json
import math
import re
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 16  # objects and lists inside each other; tokens of the field use three
MAX_INTEGER_CHARS: Final = 64  # identifiers need 20; from 4,300 digits on Python itself refuses

_SPACE: Final = " \t\n\r"  # RFC 8259, section 2

# A string, or one that never ends (json refuses it then). Each match consumes what it looked at, so
# that the scan is linear whatever is sent.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class StrictJsonError(ValueError):
    """The document is refused; the message names the rule and quotes nothing of the document."""


def loads(document: bytes) -> Any:
    """Return the value of a JSON document.

    Raises StrictJsonError for what is not UTF-8 (a byte order mark included), not JSON, nested
    deeper than MAX_DEPTH, or holds a key twice in one object, NaN or Infinity (also by a float's
    overflow), an integer of more than MAX_INTEGER_CHARS, or half a surrogate pair.
    """
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJsonError("not UTF-8") from None
    _check_depth(document)
    text = text.strip(_SPACE)
    try:
        value, end = _DECODER.raw_decode(text)  # ``decode`` would look for the space by itself
    except json.JSONDecodeError:
        raise StrictJsonError("not JSON") from None
    if end != len(text):
        raise StrictJsonError("not JSON")
    if _ESCAPED_SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _check_depth(document: bytes) -> None:
    # Before parsing: json's parser calls itself for each level until Python raises RecursionError.
    if document.count(b"[") + document.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", document).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")  # the innermost of each branch
    if brackets:
        raise StrictJsonError(f"nested deeper than {MAX_DEPTH}, or with unbalanced brackets")


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise StrictJsonError("half a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJsonError("a key twice in one object")
    return members


def _integer(literal: str) -> int:
    if len(literal) > MAX_INTEGER_CHARS:
        raise StrictJsonError(f"an integer of more than {MAX_INTEGER_CHARS} characters")
    return int(literal)


def _float(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise StrictJsonError("a number too large")
    return number


def _constant(_literal: str) -> NoReturn:
    raise StrictJsonError("NaN or Infinity")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)

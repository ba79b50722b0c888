"""Percent-escapes: decoded, refused, or marked where they could be read in two ways."""

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes


class PathError(Exception):
    """A target that is no path, or one that two servers could read differently.

    The message says what is wrong and never quotes the target.
    """


class _Special(NamedTuple):
    """An escape that ``feature`` allows. ``mark`` stands for it until its reading is chosen."""

    feature: str
    escape: re.Pattern[bytes]
    mark: str
    plain: str


# A mark is a control character, and no path that is let in holds any.
PERCENT, SLASH, DOT, QUESTION, HASH, SEMICOLON = "\x01\x02\x03\x04\x05\x06"

_SPECIALS = (
    _Special("encoded_percent", re.compile(rb"%25"), PERCENT, "%"),
    _Special("encoded_slash", re.compile(rb"%2[Ff]"), SLASH, "/"),
    _Special("encoded_dot", re.compile(rb"%2[Ee]"), DOT, "."),
    _Special("encoded_question", re.compile(rb"%3[Ff]"), QUESTION, "?"),
    _Special("encoded_hash", re.compile(rb"%23"), HASH, "#"),
    _Special("semicolon", re.compile(rb"%3[Bb]"), SEMICOLON, ";"),
)
_UNMARKED = str.maketrans({special.mark: special.plain for special in _SPECIALS})

_NEVER = (
    (re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff])"), "an encoded control character"),
    (re.compile(rb"%5[Cc]"), "an encoded backslash"),
)
_C1_CONTROL = re.compile("[\x80-\x9f]")
_ESCAPE = re.compile(r"%(?:[0-9A-Fa-f]{2}|[Uu][0-9A-Fa-f]{4})")


def decode_text(path: bytes) -> str:
    """Decode the escapes of a path that holds harmless ones alone.

    Raises PathError where they are not UTF-8, or make a C1 control character.
    """
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise PathError("the path is not UTF-8 once it is decoded") from None
    if _C1_CONTROL.search(text):
        raise PathError("the path holds an encoded control character")
    return text


def decode(path: bytes, allow: frozenset[str]) -> str:
    """Decode the escapes of a path; those that ``allow`` lets in become marks.

    Raises PathError for an escape that is not let in. What has the form of no escape is kept.
    """
    for refused, what in _NEVER:
        if refused.search(path):
            raise PathError(f"the path holds {what}")
    for special in _SPECIALS:
        if special.escape.search(path):
            if special.feature not in allow:
                raise PathError(f"the path holds an encoded {special.plain}")
            path = special.escape.sub(special.mark.encode(), path)
    return decode_text(path)


def decode_again(text: str, allow: frozenset[str]) -> str:
    """Decode what an encoded percent sign was hiding, as a second hop does that decodes too.

    Raises PathError for what ``decode`` refuses, and for what a third hop could still decode.
    """
    if PERCENT not in text:
        return text
    twice = decode(text.replace(PERCENT, "%").encode(), allow).replace(PERCENT, "%")
    if _ESCAPE.search(twice):
        raise PathError("the path is percent-encoded more than twice")
    return twice


def unmark(segment: str) -> str:
    """Return a segment's text with what its marks stand for."""
    return segment.translate(_UNMARKED)

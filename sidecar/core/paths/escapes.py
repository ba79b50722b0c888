"""Percent-escapes: decoded, refused, or marked where they are ambiguous."""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from sidecar.core.paths.problems import PathError, PathProblem


class _Special(NamedTuple):
    """An escape that ``feature`` allows; without it, the path has the ``problem``.

    ``mark`` stands for the escape until its reading is chosen. ``kept`` allows the escape as a part
    of its segment, whose mark ``data`` is in no rewriting.
    """

    feature: str
    problem: PathProblem
    escape: re.Pattern[bytes]
    mark: str
    plain: str
    kept: str = ""
    data: str = ""


# A mark is a control character, which no accepted path contains.
PERCENT, SLASH, DOT, QUESTION, HASH, SEMICOLON = "\x01\x02\x03\x04\x05\x06"
KEPT_SLASH, KEPT_HASH = "\x0e\x0f"

KEPT: Final = {"slash": "kept_slash", "hash": "kept_hash"}
"""What ``policy.encoded`` may name, with the feature that it is to ``decode``."""

_SPECIALS = (
    _Special("encoded_percent", PathProblem.ENCODED_PERCENT, re.compile(rb"%25"), PERCENT, "%"),
    _Special(
        *("encoded_slash", PathProblem.ENCODED_SLASH, re.compile(rb"%2[Ff]"), SLASH, "/"),
        *(KEPT["slash"], KEPT_SLASH),
    ),
    _Special("encoded_dot", PathProblem.ENCODED_DOT, re.compile(rb"%2[Ee]"), DOT, "."),
    _Special(
        "encoded_question", PathProblem.ENCODED_QUESTION, re.compile(rb"%3[Ff]"), QUESTION, "?"
    ),
    _Special(
        *("encoded_hash", PathProblem.ENCODED_HASH, re.compile(rb"%23"), HASH, "#"),
        *(KEPT["hash"], KEPT_HASH),
    ),
    _Special("semicolon", PathProblem.ENCODED_SEMICOLON, re.compile(rb"%3[Bb]"), SEMICOLON, ";"),
)
_UNMARKED = str.maketrans(
    {mark: special.plain for special in _SPECIALS for mark in (special.mark, special.data) if mark}
)

_NEVER = (
    (re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff])"), PathProblem.ENCODED_CONTROL_CHARACTER),
    (re.compile(rb"%5[Cc]"), PathProblem.ENCODED_BACKSLASH),
)
_C1_CONTROL = re.compile("[\x80-\x9f]")
_ESCAPE = re.compile(r"%(?:[0-9A-Fa-f]{2}|[Uu][0-9A-Fa-f]{4})")


def decode_text(path: bytes) -> str:
    """Decode the escapes of a path that contains only harmless ones.

    Raises PathError where the result is not UTF-8 or contains a C1 control character.
    """
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise PathError(PathProblem.NOT_UTF8) from None
    if _C1_CONTROL.search(text):
        raise PathError(PathProblem.ENCODED_CONTROL_CHARACTER)
    return text


def decode(path: bytes, allow: frozenset[str]) -> str:
    """Decode the escapes of a path; those that ``allow`` names become marks.

    With ``kept_slash`` or ``kept_hash`` in ``allow``, that escape is data of its segment.

    Raises PathError for an escape that is not allowed. Text that is not an escape is kept.
    """
    for refused, problem in _NEVER:
        if refused.search(path):
            raise PathError(problem)
    for special in _SPECIALS:
        if special.escape.search(path):
            if special.kept in allow:
                path = special.escape.sub(special.data.encode(), path)
                continue
            if special.feature not in allow:
                raise PathError(special.problem)
            path = special.escape.sub(special.mark.encode(), path)
    return decode_text(path)


def decode_again(text: str, allow: frozenset[str]) -> str:
    """Decode the escapes behind an encoded percent sign, as a second server that decodes does.

    Raises PathError for what ``decode`` refuses, and where a third server could decode again.
    """
    if PERCENT not in text:
        return text
    twice = decode(text.replace(PERCENT, "%").encode(), allow).replace(PERCENT, "%")
    if _ESCAPE.search(twice):
        raise PathError(PathProblem.ENCODED_TOO_OFTEN)
    return twice


def unmark(segment: str) -> str:
    """Return a segment's text with its marks replaced by their characters."""
    return segment.translate(_UNMARKED)

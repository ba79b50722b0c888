"""Canonical paths: one spelling for each, and every reading of one that has several.

The sidecar and the upstream must not read a path differently. So a target is checked byte by byte,
and refused if two servers could read it in two ways. ``policy.allow_paths`` allows one feature at a
time; such a path has several readings, and each of them is matched.
"""

import re
from typing import NamedTuple

from sidecar.core.paths.escapes import decode, decode_text
from sidecar.core.paths.problems import PathError, PathProblem
from sidecar.core.paths.readings import MAX_READINGS, MAX_SEGMENTS, find_readings

__all__ = [
    "ALLOWABLE",
    "MAX_PATH",
    "MAX_READINGS",
    "MAX_SEGMENTS",
    "MAX_TARGET",
    "Path",
    "PathError",
    "PathProblem",
    "canonicalise",
]

MAX_TARGET = 60 * 1024
"""Bytes of path and query: Envoy's own default for all headers (``max_request_headers_kb``)."""

MAX_PATH = 8 * 1024
"""Bytes of the path: what nginx and Apache take as a whole request line. Bounds one path's work."""

ALLOWABLE = frozenset(
    {
        "double_slash",
        "encoded_dot",
        "encoded_hash",
        "encoded_percent",
        "encoded_question",
        "encoded_slash",
        "semicolon",
    }
)
"""What ``policy.allow_paths`` may name."""


class Path(NamedTuple):
    """A path as its readings, each the decoded segments; ``/`` is ``()``.

    There is one reading, unless the path has a feature that ``allow_paths`` names. ``slashes``
    says of each whether it ends in a slash. ``raw`` is the path as it came, without its first and
    last slash where there is one reading. ``work`` is how much of ``MAX_WORK`` they took. ``plain``
    says that there is one reading, and neither a dot, an escape nor a slash at the end.
    """

    readings: tuple[tuple[str, ...], ...]
    slashes: tuple[bool, ...] = (False,)
    raw: bytes = b""
    work: int = 0
    plain: bool = False


# Visible ASCII without # % . / ; ? and the backslash.
_PLAIN = rb'!"$&-,\-0-:<->@-\[\]-~'
# Escapes of all other bytes except the dot and control characters; UTF-8 is checked later.
_HARMLESS = (
    rb"%(?:2[0-2467-9A-Da-d]|3[0-9ACDEacde]|[46][0-9A-Fa-f]|5[0-9ABDEFabdef]|7[0-9A-Ea-e]"
    rb"|[89A-Fa-f][0-9A-Fa-f])"
)
# Refused in a query too: a space or a line break there splits a request in two.
_NOT_IN_QUERY = rb"\x00-\x20\x7f#"


def _clean(plain: bytes) -> re.Pattern[bytes]:
    more = rb"{0,%d}+" % (MAX_SEGMENTS - 1)
    simple = rb"[" + plain + rb"]++"
    dots = rb"(?!\.\.?(?:[/?]|\Z))"
    segment = dots + rb"(?:[." + plain + rb"]++|" + _HARMLESS + rb")++"
    query = rb"(?:\?[^" + _NOT_IN_QUERY + rb"]*+)?+\Z"
    return re.compile(
        rb"/(?:(" + simple + rb"(?:/" + simple + rb")" + more + rb")(?=\?|\Z)"
        rb"|(" + segment + rb"(?:/" + segment + rb")" + more + rb")(/?))?+" + query
    )


_SLASH, _NO_SLASH = (True,), (False,)

# Nearly every request's target; others are examined piece by piece.
_CLEAN = _clean(_PLAIN)
_CLEAN_REPLACED = _clean(_PLAIN.removeprefix(b"!"))


def canonicalise(target: bytes, *, raw_headers: bool, allow: frozenset[str] = frozenset()) -> Path:
    """Return the path of a request's target; the query begins at the first ``?``.

    ``raw_headers`` says that the bytes are the client's own; otherwise Envoy has replaced each byte
    that is not UTF-8 by ``!``, so that a ``!`` could be any byte. ``allow`` is a subset of
    ``ALLOWABLE`` and of the values of ``escapes.KEPT``.

    Raises PathError for a target that is not acceptable, and nothing else whatever its bytes.
    """
    if len(target) <= MAX_PATH:
        clean = (_CLEAN if raw_headers else _CLEAN_REPLACED).match(target)
        if clean is not None:
            plain, path, slash = clean.groups()
            if plain is not None:
                segments = tuple(plain.decode("ascii").split("/"))
                # A NamedTuple's own constructor takes twice as long.
                return tuple.__new__(Path, ((segments,), _NO_SLASH, plain, 0, True))
            if path is None:
                return Path(((),))
            text = decode_text(path) if b"%" in path else path.decode("ascii")
            slashes = _SLASH if slash else _NO_SLASH
            return Path((tuple(text.split("/")),), slashes, path)
    found = find_readings(_examine(target, raw_headers, allow), allow)
    raw = target.partition(b"?")[0]
    if len(found.readings) == 1:
        raw = raw.strip(b"/")
    return Path(found.readings, found.slashes, raw, found.work)


_INVALID_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_QUERY_REFUSED = re.compile(rb"[" + _NOT_IN_QUERY + rb"]")
_REFUSED = (
    (re.compile(rb"[\x00-\x1f\x7f]"), PathProblem.CONTROL_CHARACTER),
    (re.compile(rb"[\x80-\xff]"), PathProblem.NON_ASCII),
    (re.compile(rb" "), PathProblem.SPACE),
    (re.compile(rb"#"), PathProblem.HASH),
    (re.compile(rb"\\"), PathProblem.BACKSLASH),
    (re.compile(rb"/\.\.?(?:/|\Z)"), PathProblem.DOT_SEGMENT),
    (_INVALID_ESCAPE, PathProblem.INVALID_ESCAPE),
)


def _examine(target: bytes, raw_headers: bool, allow: frozenset[str]) -> str:
    """Return the decoded path of a target that is not clean, marked where it is ambiguous."""
    if len(target) > MAX_TARGET:
        raise PathError(PathProblem.TARGET_TOO_LONG)
    path, _, query = target.partition(b"?")
    if not path:
        raise PathError(PathProblem.EMPTY)
    if not path.startswith(b"/"):
        raise PathError(PathProblem.NOT_ABSOLUTE)
    if len(path) > MAX_PATH:
        raise PathError(PathProblem.TOO_LONG)
    for refused, problem in _REFUSED:
        if refused.search(path):
            raise PathError(problem)
    if not raw_headers and b"!" in path:
        raise PathError(PathProblem.EXCLAMATION_MARK)
    if b";" in path and "semicolon" not in allow:
        raise PathError(PathProblem.SEMICOLON)
    if _QUERY_REFUSED.search(query):
        raise PathError(PathProblem.QUERY_CHARACTER)
    return decode(path, allow)

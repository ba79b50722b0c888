"""The readings of a path: what upstreams make of one that ``policy.allow_paths`` let in.

Servers, proxies and frameworks rewrite a path before they look at it, each in its own order. So
every rewriting that is known is applied to what every other one left, until nothing new comes
of it: whichever of them an upstream applies, and in whatever order, what it then sees is here.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from sidecar.core.paths.escapes import (
    DOT,
    HASH,
    PERCENT,
    QUESTION,
    SEMICOLON,
    SLASH,
    decode_again,
    unmark,
)
from sidecar.core.paths.problems import PathError, PathProblem

MAX_SEGMENTS = 64
"""Segments of a path, as of a route."""

MAX_READINGS = 64
"""Readings of one path. Honest paths have two to ten; this bounds the work that one can cause."""

MAX_WORK = 32 * 1024
"""Work on one path: characters of all its readings together, and ``neighbours.STEP_WORK`` for each
step of matching them. It takes two milliseconds, for which other requests wait. A path of 8 KiB
can have four readings, one of 512 bytes all that ``MAX_READINGS`` admits."""

_AMBIGUOUS = re.compile("[\x01-\x06;]|//")


class Readings(NamedTuple):
    """The readings of a path, the plainest first.

    ``slashes`` says of each whether a slash ends it, and ``work`` how much of ``MAX_WORK`` finding
    them took.
    """

    readings: tuple[tuple[str, ...], ...]
    slashes: tuple[bool, ...]
    work: int


def find_readings(text: str, allow: frozenset[str]) -> Readings:
    """Return every reading of a decoded, marked path.

    Raises PathError where one of them is not acceptable itself, where they are too many, or where
    they take more than ``MAX_WORK``.
    """
    found = {text: _segments(text, allow)}
    work = len(text)
    if _AMBIGUOUS.search(text):
        texts = [text]
        for known in texts:
            for rewrite in _REWRITINGS:
                other = rewrite(known, allow)
                if other not in found:
                    if len(found) == MAX_READINGS:
                        raise PathError(PathProblem.TOO_MANY_READINGS)
                    work += len(other)
                    if work > MAX_WORK:
                        raise PathError(PathProblem.TOO_MUCH_WORK)
                    found[other] = _segments(other, allow)
                    texts.append(other)
    slashes: dict[tuple[str, ...], bool] = {}
    for other, segments in found.items():
        slashes[segments] = slashes.get(segments, False) or _ends_in_slash(other)
    return Readings(tuple(slashes), tuple(slashes.values()), work)


def _segments(text: str, allow: frozenset[str]) -> tuple[str, ...]:
    segments = [unmark(segment) for segment in text.split("/")[1:]]
    if not segments[-1]:
        segments.pop()  # a trailing slash counts for nothing
    if len(segments) > MAX_SEGMENTS:
        raise PathError(PathProblem.TOO_MANY_SEGMENTS)
    if "" in segments and "double_slash" not in allow:
        raise PathError(PathProblem.DOUBLE_SLASH)
    if ("." in segments or ".." in segments) and "encoded_dot" not in allow:
        raise PathError(PathProblem.DOT_SEGMENT)
    return tuple(segments)


def _ends_in_slash(text: str) -> bool:
    return len(text) > 1 and text.endswith("/")


def _split_at_encoded_slashes(text: str, _: frozenset[str]) -> str:
    """Decode before splitting, as most frameworks do."""
    return text.replace(SLASH, "/")


def _decode_semicolons(text: str, _: frozenset[str]) -> str:
    """Decode before parameters are looked for."""
    return text.replace(SEMICOLON, ";")


_PARAMETERS = re.compile(";[^/]*")


def _strip_parameters(text: str, _: frozenset[str]) -> str:
    """Drop each segment's parameters, as Tomcat, Jetty, Spring and JAX-RS do."""
    return _PARAMETERS.sub("", text)


def _strip_last_parameters(text: str, _: frozenset[str]) -> str:
    """Drop the last segment's parameters alone, as RFC 1808 and Python's urlparse have it."""
    head, slash, last = text.rpartition("/")
    return head + slash + last.partition(";")[0]


def _cut_at_parameters(text: str, _: frozenset[str]) -> str:
    """Drop all that follows the first parameter, as old servlet containers do."""
    return text.partition(";")[0]


def _cut_at_question(text: str, _: frozenset[str]) -> str:
    """Decode before the query is looked for, as behind a proxy that sends a decoded path on."""
    return text.partition(QUESTION)[0]


def _cut_at_hash(text: str, _: frozenset[str]) -> str:
    """Decode before the fragment is looked for."""
    return text.partition(HASH)[0]


_SLASHES = re.compile("//+")
_AUTHORITY = re.compile(r"\A//+[^/]*")
_DECODED_AUTHORITY = re.compile(rf"\A//+[^/{QUESTION}{HASH}]*/?")


def _merge_slashes(text: str, _: frozenset[str]) -> str:
    """Read several slashes as one, as nginx, Tomcat and Go's ServeMux do."""
    return _SLASHES.sub("/", text)


def _merge_leading_slashes(text: str, _: frozenset[str]) -> str:
    """Read several slashes as one at the beginning only, as Werkzeug does."""
    return "/" + text.lstrip("/")


def _drop_authority(text: str, _: frozenset[str]) -> str:
    """Read ``//a/b`` as the path ``/b`` on a host ``a``, as PHP's parse_url and WHATWG's URL do."""
    return _AUTHORITY.sub("", text) or "/"


def _drop_decoded_authority(text: str, _: frozenset[str]) -> str:
    """Do so once it is decoded, where a ``?`` or a ``#`` ends the host as well."""
    return _DECODED_AUTHORITY.sub("/", text)


def _drop_trailing_slash(text: str, _: frozenset[str]) -> str:
    """Drop a trailing slash before anything else is done, as Go's path.Clean does."""
    return text.removesuffix("/") or "/"


_DOT = re.compile(DOT)
_DOT_TWICE = re.compile(f"{DOT}|{PERCENT}2[Ee]")


def _resolve_dots(text: str, _: frozenset[str]) -> str:
    """Resolve dot segments (RFC 3986, 5.2.4), encoded ones too."""
    return _resolve(text, _DOT)


def _resolve_hidden_dots(text: str, _: frozenset[str]) -> str:
    """Resolve those too that were encoded twice: WHATWG's URL, given a path already decoded."""
    return _resolve(text, _DOT_TWICE) if PERCENT in text else text


def _resolve(text: str, dot: re.Pattern[str]) -> str:
    resolved = [""]
    segments = [(segment, dot.sub(".", segment)) for segment in text.split("/")[1:]]
    for segment, plain in segments:
        if plain == "..":
            if len(resolved) == 1:
                raise PathError(PathProblem.ABOVE_ROOT)
            resolved.pop()
        elif plain != ".":
            resolved.append(segment)
    if segments[-1][1] in (".", "..") or len(resolved) == 1:
        resolved.append("")
    return "/".join(resolved)


_REWRITINGS: tuple[Callable[[str, frozenset[str]], str], ...] = (
    decode_again,
    _split_at_encoded_slashes,
    _decode_semicolons,
    _strip_parameters,
    _strip_last_parameters,
    _cut_at_parameters,
    _cut_at_question,
    _cut_at_hash,
    _merge_slashes,
    _merge_leading_slashes,
    _drop_authority,
    _drop_decoded_authority,
    _drop_trailing_slash,
    _resolve_dots,
    _resolve_hidden_dots,
)

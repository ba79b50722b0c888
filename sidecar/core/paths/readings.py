"""The readings of a path that ``policy.allow_paths`` accepts: what upstreams see of it.

Servers, proxies and frameworks rewrite a path before they match it, each in its own order. So
every known rewriting is applied to the result of every other, until there is no new result:
whatever an upstream applies, in any order, its result is among the readings.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sidecar.core.paths.escapes import (
    DOT,
    HASH,
    KEPT_SLASH,
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
"""Readings of one path. Honest paths have two to ten; this bounds the work per path."""

MAX_WORK = 32 * 1024
"""Work on one path: characters of all its readings together, and ``neighbours.STEP_WORK`` for each
step of matching them. It takes two milliseconds, while other requests wait. A path of 8 KiB
can have four readings, one of 512 bytes all ``MAX_READINGS``."""

_AMBIGUOUS = re.compile("[\x01-\x06;]|//")


class Readings(NamedTuple):
    """The readings of a path, the plainest first.

    ``slashes`` says of each whether it ends in a slash; ``work`` is how much of ``MAX_WORK`` was
    used to find them.
    """

    readings: tuple[tuple[str, ...], ...]
    slashes: tuple[bool, ...]
    work: int


def find_readings(text: str, allow: frozenset[str]) -> Readings:
    """Return every reading of a decoded, marked path.

    Raises PathError if one of them is not acceptable itself, if they are too many, or if they take
    more than ``MAX_WORK``.
    """
    found = {text: _segments(text, allow)}
    work = len(text)
    if _AMBIGUOUS.search(text):
        rewritings: list[Callable[[str], str]] = [partial(decode_again, allow=allow), *_REWRITINGS]
        texts = [text]
        for known in texts:
            for rewrite in rewritings:
                other = rewrite(known)
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
        slashes[segments] = slashes.get(segments, False) or other.endswith("/", 1)
    return Readings(tuple(slashes), tuple(slashes.values()), work)


def _segments(text: str, allow: frozenset[str]) -> tuple[str, ...]:
    segments = [unmark(segment) for segment in text.split("/")[1:]]
    if not segments[-1]:
        segments.pop()  # a trailing slash is ignored
    if len(segments) > MAX_SEGMENTS:
        raise PathError(PathProblem.TOO_MANY_SEGMENTS)
    if "" in segments and "double_slash" not in allow:
        raise PathError(PathProblem.DOUBLE_SLASH)
    if ("." in segments or ".." in segments) and "encoded_dot" not in allow:
        raise PathError(PathProblem.DOT_SEGMENT)
    if KEPT_SLASH in text and _DOTS_IN_SEGMENT.search(unmark(text)):
        raise PathError(PathProblem.DOT_SEGMENT)  # no id has one, and a file name of an attack has
    return tuple(segments)


_DOTS_IN_SEGMENT = re.compile(r"/\.\.?(?:/|\Z)")
_PARAMETERS = re.compile(";[^/]*")
_SLASHES = re.compile("//+")
_AUTHORITY = re.compile(r"\A//+[^/]*")
_DECODED_AUTHORITY = re.compile(rf"\A//+[^/{QUESTION}{HASH}]*/?")
_DOT = re.compile(DOT)
_DOT_TWICE = re.compile(f"{DOT}|{PERCENT}2[Ee]")


def _strip_last_parameters(text: str) -> str:
    head, slash, last = text.rpartition("/")
    return head + slash + last.partition(";")[0]


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


_REWRITINGS: tuple[Callable[[str], str], ...] = (
    # Decode before splitting, as most frameworks do, and before finding parameters.
    lambda text: text.replace(SLASH, "/"),
    lambda text: text.replace(SEMICOLON, ";"),
    # Drop each segment's parameters, as Tomcat, Jetty, Spring and JAX-RS do; only the last
    # segment's, as in RFC 1808 and Python's urlparse; or everything from the first one on, as old
    # servlet containers do.
    lambda text: _PARAMETERS.sub("", text),
    _strip_last_parameters,
    lambda text: text.partition(";")[0],
    # Decode before finding the query, as behind a proxy that forwards a decoded path, and before
    # finding the fragment.
    lambda text: text.partition(QUESTION)[0],
    lambda text: text.partition(HASH)[0],
    # Read several slashes as one, as nginx, Tomcat and Go's ServeMux do; at the beginning only, as
    # Werkzeug does.
    lambda text: _SLASHES.sub("/", text),
    lambda text: "/" + text.lstrip("/"),
    # Read `//a/b` as the path `/b` on a host `a`, as PHP's parse_url and WHATWG's URL do; after
    # decoding, `?` and `#` end the host too.
    lambda text: _AUTHORITY.sub("", text) or "/",
    lambda text: _DECODED_AUTHORITY.sub("/", text),
    # Drop a trailing slash before anything else is done, as Go's path.Clean does.
    lambda text: text.removesuffix("/") or "/",
    # Resolve dot segments (RFC 3986, 5.2.4), encoded ones too; also those encoded twice, as
    # WHATWG's URL does with a decoded path.
    lambda text: _resolve(text, _DOT),
    lambda text: _resolve(text, _DOT_TWICE) if PERCENT in text else text,
)

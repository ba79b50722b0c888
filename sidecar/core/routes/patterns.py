"""The path of a route: literals, one-segment wildcards, a trailing wildcard."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from sidecar.core.paths.canonical import MAX_SEGMENTS, PathError, canonicalise


class Pattern(NamedTuple):
    """A route's path, read.

    ``segments`` holds a literal's decoded text, or None for exactly one segment whatever it is.
    ``tail`` says that one or more further segments follow (none too where ``segments`` is empty).
    ``names`` maps a ``{name}`` to its index.
    """

    segments: tuple[str | None, ...]
    tail: bool
    names: Mapping[str, int]


_NAMED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}")
_NOT_ASCII = re.compile("[^\x00-\x7f]+")


def parse_pattern(path: str) -> Pattern:
    """Read the path of a route.

    Literals are canonicalised like the paths of requests, with the same refusals whatever
    ``allow_paths`` says; text beyond ASCII need not be encoded.

    Raises ValueError, whose message names the problem and how to fix it.
    """
    if not path.startswith("/"):
        raise ValueError("a route's path begins with /")
    written = path.split("/")[1:]
    if not written[-1]:
        written.pop()  # a trailing slash is ignored
    tail = bool(written) and written[-1] == "*"
    if tail:
        written.pop()
    if len(written) + tail > MAX_SEGMENTS:
        raise ValueError(f"a path has at most {MAX_SEGMENTS} segments")
    segments: list[str | None] = []
    names: dict[str, int] = {}
    for index, segment in enumerate(written):
        if name := _name(segment):
            if name in names:
                raise ValueError(
                    f"{{{name}}} is used twice in the path; give each a name of its own"
                )
            names[name] = index
        segments.append(None if name or segment == "*" else _literal(segment))
    return Pattern(tuple(segments), tail, names)


def _name(segment: str) -> str | None:
    if "{" not in segment and "}" not in segment:
        return None
    match = _NAMED.fullmatch(segment)
    if match is None:
        raise ValueError(
            f"{segment!r} is not a {{name}}: that takes a whole segment, and is up to 64 letters, "
            "digits, _ and -, the first a letter or _; a literal brace is written %7B or %7D"
        )
    return match[1]


def _literal(segment: str) -> str:
    if "*" in segment:
        raise ValueError(
            f"a * is part of the segment {segment!r}; a wildcard takes a whole segment, "
            "and a literal * is written %2A"
        )
    if not segment:
        raise ValueError("a route's path cannot contain a double slash")
    if "?" in segment:
        raise ValueError("a route's path has no query; a route matches whatever the query is")
    try:
        encoded = _NOT_ASCII.sub(lambda found: quote(found[0]), segment).encode("ascii")
        (literal,) = canonicalise(b"/" + encoded, raw_headers=True).readings[0]
    except UnicodeEncodeError:
        raise ValueError(f"the segment {segment!r} contains half a surrogate pair") from None
    except PathError as error:
        what = error.problem.replace("_", " ")
        raise ValueError(f"{segment!r} is not allowed in a route's path: {what}") from None
    return literal


MAX_NAME = 64
"""Characters of a route's name, which is in logs and a metric's label."""

_ALL_NAMED = re.compile(r"\{([^{}/]*)\}")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._]+")


def default_name(path: str) -> str:
    """Derive a route's name from its path: ``/api/users/{id}/*`` becomes ``api-users-id-all``.

    Two paths may get the same name; it leaves room for a number after it.
    """
    words = _ALL_NAMED.sub(r"\1", path).strip("/").split("/")
    if words[-1] == "*":
        words[-1] = "all"
    words = ["any" if word == "*" else _NOT_IN_NAME.sub("-", word).strip("-._") for word in words]
    return "-".join(filter(None, words))[: MAX_NAME - 8] or ("root" if path == "/" else "route")

"""The path of a route: literals, names between literals, one-segment and trailing wildcards."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from sidecar.core.paths.canonical import MAX_SEGMENTS, PathError, canonicalise
from sidecar.core.routes.segments import ANYTHING, Mixed, Segment, both, example, folded


class Pattern(NamedTuple):
    """A route's path, read.

    ``segments`` holds a literal's decoded text, a ``Mixed`` for a ``{name}`` between literals, or
    None for exactly one segment whatever it is. ``tail`` says that one or more further segments
    follow (none too where ``segments`` is empty).
    ``names`` maps a ``{name}`` to its index.
    """

    segments: tuple[Segment, ...]
    tail: bool
    names: Mapping[str, int]

    @property
    def takes_many(self) -> bool:
        """Whether the pattern takes more than one path."""
        return self.tail or not all(isinstance(segment, str) for segment in self.segments)

    def folded(self) -> "Pattern":
        """Return the pattern as it is compared without regard to case."""
        return self._replace(segments=tuple(map(folded, self.segments)))

    def example(self, anything: str = ANYTHING) -> tuple[str, ...]:
        """Return segments that the pattern takes, without those of its tail."""
        return tuple([example(segment, anything) for segment in self.segments])


def meeting(one: Pattern, other: Pattern, anything: str = ANYTHING) -> tuple[str, ...] | None:
    """Return segments that both patterns take, None where there are none."""
    shorter, longer = sorted((one, other), key=lambda pattern: len(pattern.segments))
    shared = list(longer.example(anything))
    for index, pair in enumerate(zip(shorter.segments, longer.segments, strict=False)):
        text = both(*pair, anything)
        if text is None:
            return None
        shared[index] = text
    tails = [pattern for pattern in (one, other) if pattern.tail]
    if any(0 < len(pattern.segments) == len(shared) for pattern in tails):
        shared.append(anything)
    fixed = [pattern for pattern in (one, other) if not pattern.tail]
    if any(len(pattern.segments) != len(shared) for pattern in fixed):
        return None
    return tuple(shared)


_NAMED = re.compile(r"([^{}]*)\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}([^{}]*)")
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
    segments: list[Segment] = []
    names: dict[str, int] = {}
    for index, segment in enumerate(written):
        if "{" in segment or "}" in segment:
            name, taken = _named(segment)
            if name in names:
                raise ValueError(
                    f"{{{name}}} is used twice in the path; give each a name of its own"
                )
            names[name] = index
            segments.append(taken)
        else:
            segments.append(None if segment == "*" else _literal(segment))
    return Pattern(tuple(segments), tail, names)


def _named(segment: str) -> tuple[str, Mixed | None]:
    """Return the name in a segment, and what it takes."""
    match = _NAMED.fullmatch(segment)
    if match is None:
        raise ValueError(
            f"{segment!r} is not a {{name}}: a segment can have one, with literal text before or "
            "after it; a name has up to 64 letters, digits, _ and -, and begins with a letter or "
            "_; a literal brace is written %7B or %7D"
        )
    before, name, after = match.groups()
    if not before and not after:
        return name, None
    return name, Mixed(*[_decoded(text, segment, around="x") for text in (before, after)])


def _literal(segment: str) -> str:
    if not segment:
        raise ValueError("a route's path cannot contain a double slash")
    return _decoded(segment, segment)


def _decoded(text: str, segment: str, around: str = "") -> str:
    """Return the decoded text of a segment's literal, which ``around`` keeps from being all of it.

    So that ``.{name}`` is not refused as a dot segment.
    """
    if "*" in text:
        raise ValueError(
            f"a * is part of the segment {segment!r}; a wildcard takes a whole segment, a {{name}} "
            "may be part of one, and a literal * is written %2A"
        )
    if "?" in text:
        raise ValueError("a route's path has no query; a route matches whatever the query is")
    try:
        encoded = _NOT_ASCII.sub(lambda found: quote(found[0]), text).encode("ascii")
        target = f"/{around}".encode() + encoded + around.encode()
        (literal,) = canonicalise(target, raw_headers=True).readings[0]
    except UnicodeEncodeError:
        raise ValueError(f"the segment {segment!r} contains half a surrogate pair") from None
    except PathError as error:
        what = error.problem.replace("_", " ")
        raise ValueError(f"{segment!r} is not allowed in a route's path: {what}") from None
    return literal.removeprefix(around).removesuffix(around)


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

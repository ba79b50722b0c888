"""The different paths that the wildcards of a route stood for, as narrower paths."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.core.routes.route import Route

FEW: Final = 5
"""Paths that still count as few; a wildcard that takes more paths than these is not narrowed."""

MAX_TAIL: Final = 8  # segments below a trailing wildcard; a longer path is not written out

# What identifies one of many things: a number, a UUID, a ULID, a hash. Such segments vary.
_ID: Final = re.compile(
    r"[0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9A-HJKMNP-TV-Z]{26}"
    r"|[0-9a-fA-F]{16,}"
)
_UNRESERVED: Final = "-._~!$&'()+,;=:@"  # RFC 3986, pchar, without *


@dataclass(slots=True)
class Places:
    """At most FEW narrower paths, of a route whose path has a ``*``."""

    pattern: Pattern
    written: tuple[str, ...]  # the segments of the route's path, without a trailing wildcard
    paths: set[str] = field(default_factory=set)

    def add(self, segments: tuple[str, ...]) -> bool:
        """Add the path of a request that the route allowed; False where there are too many."""
        path = self._narrow(segments)
        if path is None:
            return False
        self.paths.add(path)
        return len(self.paths) <= FEW

    def _narrow(self, segments: tuple[str, ...]) -> str | None:
        """Return the route's path with the request's segments in place of its wildcards."""
        fixed = len(self.written)
        if not fixed <= len(segments) <= fixed + MAX_TAIL * self.pattern.tail:
            return None
        narrow: list[str] = []
        names = {*self.pattern.names}
        for index, segment in enumerate(segments):
            written = self.written[index] if index < fixed else "*"
            if written == "*":
                written = _named(names) if _ID.fullmatch(segment) else _quoted(segment)
            narrow.append(written)
        path = "/" + "/".join(narrow)
        return path if _takes(path, segments) else None


def places_of(route: Route) -> Places | None:
    """Return a place to collect paths in, None for a route whose path has no ``*``."""
    pattern = parse_pattern(route.path)
    written = tuple(route.path.split("/")[1:])
    if "*" not in written:
        return None
    return Places(pattern, written[: len(pattern.segments)])


def _named(names: set[str]) -> str:
    """Return a ``{name}`` that the path does not have yet."""
    name = next(each for each in ("id", *(f"id{n}" for n in range(2, 99))) if each not in names)
    names.add(name)
    return f"{{{name}}}"


def _quoted(segment: str) -> str:
    return quote(segment, safe=_UNRESERVED)


def _takes(path: str, segments: tuple[str, ...]) -> bool:
    """Say whether a path, read as a route's, takes these segments."""
    try:
        pattern = parse_pattern(path)
    except ValueError:
        return False
    return len(pattern.segments) == len(segments) and all(
        taken is None or taken == segment or not isinstance(taken, str)
        for taken, segment in zip(pattern.segments, segments, strict=True)
    )

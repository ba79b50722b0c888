"""Paths of other route tables and documents, as near as a route's path comes to them."""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from sidecar.core.paths.canonical import MAX_SEGMENTS
from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.documents.values import MAX_TEXT

# Google's templates: {name=projects/*/topics/*}, where * is a segment and ** are several.
_BOUND = re.compile(r"\{([^{}=/]+)=([^{}]*)\}")
# A parameter for several segments: {proxy+}, {path*}, {+path}, {/path*}, {path:.*}, **, *path.
_GREEDY = re.compile(r"\{[+/]?[^{}:+*]+(?:\+|\*{1,2}|:\.[*+])\}|\{\+[^{}]+\}|\*\*|^\*\w+$")
_AFTER_PATH = re.compile("[?#].*", re.DOTALL)
_AFTER_BRACE = re.compile(r"(?<=\{.)[^{}]*(?=\})", re.DOTALL)
_PARAMETER = re.compile(r"\{([^{}]*)\}")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]+")
MAX_NAME = 40  # characters of a parameter's name; a route's may have 64, with a number after it


class Fitted(NamedTuple):
    """The path of a route for a path of another program.

    ``wider`` says why it matches more than that, ``notes`` what else differs.
    """

    path: str
    wider: str
    notes: tuple[str, ...]


def fitted(template: str, *, plain: bool = False) -> Fitted | None:
    """Return the narrowest path of a route that matches what a template does.

    ``plain``: with a parameter for each segment that has one. None if there is no such path.
    """
    notes: list[str] = []
    path = _AFTER_PATH.sub("", template)
    if path != template:
        notes.append("a route is compared without query and fragment")
    if not path.startswith("/"):
        notes.append("the path does not begin with /")
    path = _AFTER_BRACE.sub(lambda found: found[0].replace("/", "_"), _BOUND.sub(_unbound, path))
    written = path.split("/")
    segments = [each for each in written if each]
    if len(segments) < len(written) - path.startswith("/") - path.endswith("/"):
        notes.append("a double slash is written as one")
    segments = segments[: MAX_SEGMENTS + 1]  # the rest would be cut below
    wider = ""
    names: set[str] = set()
    fit: list[str] = []
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if _GREEDY.search(segment):
            if not last or not _GREEDY.fullmatch(segment):
                wider = wider or "a route compares nothing after several segments"
            fit.append("*")
            break
        if segment == "*" and last:
            fit.append("{any}" if "any" not in names else "{last}")  # one segment, not several
            break
        mixed = "{" in segment and not _PARAMETER.fullmatch(segment)
        exact = None if plain and mixed else _exact(segment, names)
        if exact is None:
            wider = wider or f"a route compares the whole segment {segment}"
            exact = "{" + _name("_".join(_PARAMETER.findall(segment)) or "any", names) + "}"
        fit.append(exact)
    found = "/" + "/".join(fit)
    while len(fit) > MAX_SEGMENTS or len(found) > MAX_TEXT:
        fit = [*fit[:-2], "*"]
        wider, found = "a route's path is not so long", "/" + "/".join(fit)
    if path.endswith("/") and fit and fit[-1] != "*":
        found += "/"
    return Fitted(found, wider, tuple(notes)) if _is_route_path(found) else None


def _exact(segment: str, names: set[str]) -> str | None:
    """Return a segment as a route writes it, None if none can."""
    if len(segment) > MAX_TEXT:  # each of its parameters would be named
        return None
    taken = set(names)
    renamed = _PARAMETER.sub(lambda found: "{" + _name(found[1], taken) + "}", segment)
    for written in (renamed, quote(renamed, "{}%!$&'()+,;=:@~", errors="replace")):
        if written.isprintable() and _is_route_path(f"/{written}"):
            names |= taken
            return written
    return None


def covers(wide: Pattern, path: str) -> bool:
    """Say whether a route's pattern may take what a template, which no route has, means."""
    segments = [each for each in path.split("/") if each]
    ours = wide.segments
    if len(ours) > len(segments) or (len(ours) < len(segments) and not wide.tail):
        return bool(_GREEDY.search(path)) and any(_fits(ours, segments))
    return all(_fits(ours, segments))


def _fits(ours: tuple[object, ...], segments: list[str]) -> Iterator[bool]:
    for our, their in zip(ours, segments, strict=False):
        yield not isinstance(our, str) or "{" in their or "*" in their or our == their


def _unbound(found: re.Match[str]) -> str:
    """Write ``{name=projects/*}`` as ``projects/{name}``."""
    pattern = found[2]
    if pattern == "**":
        return f"{{{found[1]}+}}"
    return "/".join(f"{{{found[1]}}}" if each == "*" else each for each in pattern.split("/"))


def _is_route_path(path: str) -> bool:
    try:
        parse_pattern(path)
    except ValueError:
        return False
    return True


def _name(text: str, taken: set[str]) -> str:
    """Return a name for a parameter, which no other one of the path has."""
    base = _NOT_IN_NAME.sub("_", text)[:MAX_NAME]
    if not base.strip("-_"):
        base = "p"
    elif not (base[0].isalpha() or base[0] == "_"):
        base = f"p{base}"
    name = base
    for number in range(2, MAX_SEGMENTS + 2 + len(taken)):
        if name not in taken:
            break
        name = f"{base}_{number}"
    taken.add(name)
    return name

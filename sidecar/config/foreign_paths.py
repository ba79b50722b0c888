"""Finds path syntax of other software in a route's path, and writes the path in this table's form.

Literals are what a table compares letter by letter, so ``/users/:id`` would match only that text.
"""

import re
from typing import Final, NamedTuple

from sidecar.core.routes.patterns import parse_pattern
from sidecar.documents.findings import quoted

_GROUP: Final = r"\((?:[^()]|\([^()]*\))*\)"  # with one group in it at most
_ANYTHING: Final = "\x00"  # the end of a path, whatever it is
_ANY_NAME: Final = "name"

# Of regular expressions, in the order in which they are replaced. A named group keeps its name.
_EXPRESSIONS: Final = (
    (re.compile(r"\A(?:[~=!*]+ *)?(?:\\A|\^)"), ""),  # also with nginx's modifiers
    (re.compile(r"(?:/\?)?(?:\$|\\Z|\\z)\Z"), ""),
    (re.compile(rf"\((?:\?P?<\w+>)?\.[*+]\)\Z|\.[*+]\Z|{_GROUP}[*+]\Z"), _ANYTHING),
    (re.compile(r"\(\?P?<([A-Za-z_]\w*)>(?:[^()]|\([^()]*\))*\)"), r"{\1}"),
    (re.compile(rf"(?<!\w){_GROUP}[?*+]?"), f"{{{_ANY_NAME}}}"),
    (re.compile(r"\[[^\]]*\](?:[*+]|\{\d+(?:,\d*)?\})"), f"{{{_ANY_NAME}}}"),
    (re.compile(r"\\[dDwWsS](?:[*+]|\{\d+(?:,\d*)?\})?"), f"{{{_ANY_NAME}}}"),
    (re.compile(r"\\([./_-])"), r"\1"),
)
_IS_EXPRESSION: Final = re.compile(r"\A(?:[~=!*]+ *)?\^|\$\Z|\\|\(.*\)|\[[^\]]*\][*+{]|\.[*+]")

# Of a whole segment: one placeholder, and whether it takes the rest of the path.
_PLACEHOLDERS: Final = (
    (re.compile(rf":([A-Za-z_]\w*)(?:{_GROUP})?[?]?"), False),  # Express, Rails, Gin, Fiber
    (re.compile(rf":([A-Za-z_]\w*)(?:{_GROUP})?[*+]"), True),
    (re.compile(r"<(?:path|re):([A-Za-z_]\w*)>"), True),  # Flask, Django, Bottle
    (re.compile(r"<(?:[\w.()-]+:)?([A-Za-z_]\w*)(?::[^>]*)?>"), False),
    (re.compile(r"\[?\[\.\.\.([A-Za-z_]\w*)\]\]?"), True),  # Next.js, SvelteKit
    (re.compile(r"\[([A-Za-z_]\w*)(?:=\w+)?\]"), False),
    (re.compile(r"\{\*{1,2}([A-Za-z_]\w*)\}|\{([A-Za-z_]\w*)\.\.\.\}"), True),  # ASP.NET, Go
    (re.compile(r"\{([A-Za-z_]\w*)\+\}"), True),  # AWS API Gateway
    (re.compile(r"\{([A-Za-z_]\w*):(?:path|\.[*+])\}"), True),  # FastAPI, gorilla, JAX-RS
    (re.compile(r"[$#]?\{\{? *([A-Za-z_]\w*) *(?:[:=?!][^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}?\}"), False),
    (re.compile(r"\*{1,2}([A-Za-z_]\w*)?"), True),  # Gin, Rails, httprouter, Ant
    (re.compile(r"\$([A-Za-z_]\w*)"), False),  # Remix, TanStack
    (re.compile(r"%[sdv]|\{\}"), False),  # printf, format
)
_BEGINNING: Final = re.compile(r"\A:([A-Za-z_]\w*)")  # of `:id.json`
_OURS: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}|\*")

MAX_CHARACTERS: Final = 1024
"""Of a path that gets help: some expressions take quadratic time, and real paths are shorter."""

_URL: Final = re.compile(r"[a-z]+://[^/]*(/.*)?")

# Segments such as those of OData and FHIR, which are not placeholders.
_DOLLAR: Final = re.compile(r"\$[a-z][a-zA-Z-]*")


class Foreign(NamedTuple):
    """Foreign syntax: the ``part`` of a path, and the whole path as this table writes it.

    ``certain`` is false if the part may as well be meant literally.
    """

    part: str
    path: str
    certain: bool = True


def foreign(path: str) -> Foreign | None:
    """Return the first foreign syntax in a path, None if there is none."""
    text, first = path, ""
    if _IS_EXPRESSION.search(path):
        for expression, replacement in _EXPRESSIONS:
            if found := expression.search(text):
                first = first or found[0].replace(_ANYTHING, ".*")
                text = expression.sub(replacement, text)
    certain = bool(first)
    segments: list[str] = []
    for segment in text.removeprefix("/").split("/"):
        right = _right(segment)
        if right != segment and _ANYTHING not in segment:
            first = first or segment
            certain = certain or not _DOLLAR.fullmatch(segment)
        while right.startswith("{") and right in segments:
            right = f"{{{right[1:-1]}_{len(segments)}}}"
        segments.append(right)
    return Foreign(first, "/" + "/".join(segments), certain) if first else None


def help_for(path: str) -> str:
    """Return the help for a path that is an error; empty if the right form is not clear."""
    if len(path) > MAX_CHARACTERS:
        return ""
    found = foreign(path)
    if found is not None:
        return right_form(found)
    if url := _URL.fullmatch(path):
        return f"write {quoted(url[1] or '/')}, and the host in `hosts`"
    fixed = path.partition("?")[0].replace(" ", "%20")
    fixed = fixed if fixed.startswith("/") else f"/{fixed}"
    return f"write {quoted(fixed)}" if fixed != path and _compiles(fixed) else ""


def right_form(found: Foreign) -> str:
    """Return the help for a path with foreign syntax."""
    if _compiles(found.path):
        return f"write {quoted(found.path)}"
    return "{name} matches any one segment, and * at the end any further segments"


def _compiles(path: str) -> bool:
    try:
        parse_pattern(path)
    except ValueError:
        return False
    return True


def _right(segment: str) -> str:
    """Return a segment in this table's form."""
    if _OURS.fullmatch(segment):
        return segment
    if _ANYTHING in segment:
        return "*"
    for placeholder, takes_rest in _PLACEHOLDERS:
        if found := placeholder.fullmatch(segment):
            name = next(filter(None, found.groups()), _ANY_NAME)
            return "*" if takes_rest else f"{{{name}}}"
    return _BEGINNING.sub(r"{\1}", segment)

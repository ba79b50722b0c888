"""Canonical paths: one spelling for each path, and where an upstream could read it otherwise, every reading.

The checker and the upstream must never read a path differently. So the target is judged byte by byte, and what two
sane servers could read in two ways is refused. ``policy.allow_paths`` lifts that for one feature at a time; such a path
then has several readings, one for each thing that an upstream may do with it, and all of them are judged.
"""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

MAX_TARGET = 60 * 1024
"""Bytes of path and query. Envoy's own default for all headers together (``max_request_headers_kb``)."""

MAX_PATH = 8 * 1024
"""Bytes of the path alone: what nginx and Apache take as a whole request line. Bounds the work on one path."""

MAX_SEGMENTS = 64
"""Segments of a path, as of a route."""

MAX_READINGS = 64
"""Readings of one path. Two features together need about ten; more is an attack on the matcher's time."""

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


class PathError(Exception):
    """A target that is no path, or that two servers could read differently. The message never quotes it."""


class Path(NamedTuple):
    """A path as its readings, each the decoded segments; ``/`` is ``()``, and a trailing slash counts for nothing.

    There is one reading, or several where ``allow_paths`` let something ambiguous in.
    """

    readings: tuple[tuple[str, ...], ...]


# Visible ASCII but for what needs a closer look: # % / ; ? and the backslash.
_PLAIN = rb'!"$&-.0-:<->@-\[\]-~'
# No server wants these in a query either: a space or a line break is how a request is smuggled into HTTP/1.1.
_QUERY = rb"(?:\?[^\x00-\x20\x7f#]*+)?+\Z"


def _clean(plain: bytes) -> re.Pattern[bytes]:
    segment = rb"/(?!\.\.?(?:[/?]|\Z))[" + plain + rb"]++"
    return re.compile(rb"(?=/)((?:" + segment + rb"){0,%d}+)/?" % MAX_SEGMENTS + _QUERY)


_CLEAN = _clean(_PLAIN)
_CLEAN_UNFAITHFUL = _clean(_PLAIN.removeprefix(b"!"))


def canonicalise(target: bytes, *, faithful: bool, allow: frozenset[str] = frozenset()) -> Path:
    """Return the path of a request's target, whose query is split off at the first ``?``.

    ``faithful`` says that the bytes are the client's own; otherwise Envoy has put ``!`` for what is not UTF-8, so that
    a ``!`` may stand for anything. ``allow`` is a subset of ``ALLOWABLE``.

    Raises PathError for a target that is not acceptable, and nothing else whatever the bytes are.
    """
    if len(target) <= MAX_PATH:
        match = (_CLEAN if faithful else _CLEAN_UNFAITHFUL).match(target)
        if match is not None:
            return Path((tuple(match[1].decode("ascii").split("/")[1:]),))
    return _canonicalise_slowly(target, faithful, allow)


_IN_QUERY = re.compile(rb"[\x00-\x20\x7f#]")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_RAW_DOTS = re.compile(rb"/\.\.?(?:/|\Z)")

# What is refused wherever it stands, raw or percent-encoded.
_NEVER = (
    (re.compile(rb"[\x00-\x1f\x7f]|%(?:[01][0-9A-Fa-f]|7[Ff])"), "a control character"),
    (re.compile(rb"\\|%5[Cc]"), "a backslash"),
    (re.compile(rb" "), "a raw space"),
    (re.compile(rb"#"), "a raw #"),
    (re.compile(rb"[\x80-\xff]"), "raw non-ASCII (percent-encode it)"),
)


class _Special(NamedTuple):
    """Something that is allowed by name. ``mark`` stands for it while readings are made: no path holds controls."""

    feature: str
    found: re.Pattern[bytes]
    mark: str
    plain: str
    what: str


_SPECIALS = (
    _Special("encoded_percent", re.compile(rb"%25"), "\x01", "%", "an encoded percent sign (%25)"),
    _Special("encoded_slash", re.compile(rb"%2[Ff]"), "\x02", "/", "an encoded slash (%2F)"),
    _Special("encoded_dot", re.compile(rb"%2[Ee]"), "\x03", ".", "an encoded dot (%2E)"),
    _Special("encoded_question", re.compile(rb"%3[Ff]"), "\x04", "?", "an encoded ? (%3F)"),
    _Special("encoded_hash", re.compile(rb"%23"), "\x05", "#", "an encoded # (%23)"),
    _Special("semicolon", re.compile(rb"%3[Bb]"), "\x06", ";", "an encoded semicolon (%3B)"),
)
_PERCENT, _SLASH, _DOT, _QUESTION, _HASH, _SEMICOLON = (special.mark for special in _SPECIALS)
_UNMARK = str.maketrans({special.mark: special.plain for special in _SPECIALS})

_C1 = re.compile("[\x80-\x9f]")
_AMBIGUOUS = re.compile("[\x01-\x06;]|//")


def _canonicalise_slowly(target: bytes, faithful: bool, allow: frozenset[str]) -> Path:
    if len(target) > MAX_TARGET:
        raise PathError(f"the target is longer than {MAX_TARGET} bytes")
    path, _, query = target.partition(b"?")
    if _IN_QUERY.search(query):
        raise PathError("the query holds a control character, a raw space or a raw #")
    if not path.startswith(b"/"):
        raise PathError("the path does not begin with /" if path else "the path is empty")
    if len(path) > MAX_PATH:
        raise PathError(f"the path is longer than {MAX_PATH} bytes")
    if not faithful and b"!" in path:
        raise PathError("the path holds a !, which may stand for bytes that are not UTF-8")
    if _RAW_DOTS.search(path):
        raise PathError("the path holds a dot segment")
    if b";" in path and "semicolon" not in allow:
        raise PathError("the path holds a semicolon")
    if _BROKEN_ESCAPE.search(path):
        raise PathError("the path holds a broken percent-escape")
    return Path(_readings(_decode(path, allow), allow))


def _decode(path: bytes, allow: frozenset[str]) -> str:
    """Decode what is percent-encoded, but for specials, which become marks."""
    for refused, what in _NEVER:
        if refused.search(path):
            raise PathError(f"the path holds {what}")
    return _unescape(path, allow)


def _unescape(path: bytes, allow: frozenset[str]) -> str:
    for special in _SPECIALS:
        if special.found.search(path):
            if special.feature not in allow:
                raise PathError(f"the path holds {special.what}")
            path = special.found.sub(special.mark.encode(), path)
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise PathError("the path is not UTF-8 once decoded") from None
    if _C1.search(text):
        raise PathError("the path holds a control character")
    return text


def _readings(text: str, allow: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """Return every reading of a path: what any rewritings, one after another in any order, can make of it.

    Raises PathError where one of them would not be acceptable as a path itself, or where they are too many.
    """
    found = {text: _segments(text, allow)}
    if _AMBIGUOUS.search(text):
        waiting = [text]
        for known in waiting:
            for rewrite in _REWRITINGS:
                other = rewrite(known, allow)
                if other not in found:
                    if len(found) == MAX_READINGS:
                        raise PathError(f"the path has more than {MAX_READINGS} readings")
                    found[other] = _segments(other, allow)
                    waiting.append(other)
    return tuple(dict.fromkeys(found.values()))


def _segments(text: str, allow: frozenset[str]) -> tuple[str, ...]:
    segments = text.split("/")[1:]
    if not segments[-1]:
        segments.pop()
    if len(segments) > MAX_SEGMENTS:
        raise PathError(f"the path has more than {MAX_SEGMENTS} segments")
    plain = tuple(segment.translate(_UNMARK) for segment in segments)
    if "" in plain and "double_slash" not in allow:
        raise PathError("the path holds a double slash")
    if ("." in plain or ".." in plain) and "encoded_dot" not in allow:
        raise PathError("the path holds a dot segment")
    return plain


# The rewritings. Each does to the whole path one thing that some server, proxy or framework does to it.


def _decode_again(text: str, allow: frozenset[str]) -> str:
    """Decode a second time, as two hops that decode once each; what a third could still decode is refused."""
    if _PERCENT not in text:
        return text
    path = text.replace(_PERCENT, "%").encode()
    for refused, what in _NEVER_TWICE:
        if refused.search(path):
            raise PathError(f"the path, decoded twice, holds {what}")
    twice = _unescape(path, allow)
    if _ESCAPE.search(twice.replace(_PERCENT, "%")):
        raise PathError("the path is percent-encoded more than twice")
    return twice.replace(_PERCENT, "%")


_NEVER_TWICE = (
    (re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff])"), "a control character"),
    (re.compile(rb"%5[Cc]"), "a backslash"),
    (re.compile(rb"%[Uu][0-9A-Fa-f]{4}"), "a %u escape"),
)
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")


def _split_slashes(text: str, _: frozenset[str]) -> str:
    """Decode before splitting, as most frameworks do."""
    return text.replace(_SLASH, "/")


def _decode_semicolons(text: str, _: frozenset[str]) -> str:
    """Decode before path parameters are looked for."""
    return text.replace(_SEMICOLON, ";")


def _strip_parameters(text: str, _: frozenset[str]) -> str:
    """Drop the parameters of each segment, as Tomcat, Jetty and Spring do."""
    return _PARAMETERS.sub("", text)


def _strip_last_parameters(text: str, _: frozenset[str]) -> str:
    """Drop the parameters of the last segment alone, as RFC 2396's readers did (Python's urlparse still does)."""
    return _LAST_PARAMETERS.sub("", text)


def _cut_at_semicolon(text: str, _: frozenset[str]) -> str:
    """Drop everything from the first parameter on, as older Java containers do for a session id."""
    return text.partition(";")[0]


_PARAMETERS = re.compile(";[^/]*")
_LAST_PARAMETERS = re.compile(r";[^/]*\Z")


def _cut_at_question(text: str, _: frozenset[str]) -> str:
    """Decode before the query is looked for, as a second hop does that was sent a decoded path."""
    return text.partition(_QUESTION)[0]


def _cut_at_hash(text: str, _: frozenset[str]) -> str:
    """Decode before the fragment is looked for."""
    return text.partition(_HASH)[0]


def _merge_slashes(text: str, _: frozenset[str]) -> str:
    """Read several slashes as one, as nginx, Envoy and Go do."""
    return _SLASHES.sub("/", text)


def _drop_authority(text: str, _: frozenset[str]) -> str:
    """Read ``//a/b`` as a URL without a scheme, whose path is ``/b`` (PHP's parse_url, WHATWG URL, urlsplit)."""
    return (_AUTHORITY.sub("", text) or "/") if text.startswith("//") else text


_SLASHES = re.compile("//+")
_AUTHORITY = re.compile(r"\A//+[^/]*")


def _resolve_dots(text: str, _: frozenset[str]) -> str:
    """Resolve dot segments (RFC 3986, 5.2.4); above the root there is nothing to be read."""
    resolved: list[str] = []
    segments = text.split("/")
    for segment in segments:
        match segment.replace(_DOT, "."):
            case ".":
                continue
            case "..":
                if len(resolved) < 2:
                    raise PathError("the path climbs above the root")
                resolved.pop()
            case _:
                resolved.append(segment)
    return "/".join(resolved) if len(resolved) > 1 else "/"


_REWRITINGS: tuple[Callable[[str, frozenset[str]], str], ...] = (
    _decode_again,
    _split_slashes,
    _decode_semicolons,
    _strip_parameters,
    _strip_last_parameters,
    _cut_at_semicolon,
    _cut_at_question,
    _cut_at_hash,
    _merge_slashes,
    _drop_authority,
    _resolve_dots,
)

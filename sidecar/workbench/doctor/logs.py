"""Finds tokens that log lines and Envoy's own answers could show."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from sidecar.documents.findings import Place, Problem, quoted
from sidecar.documents.own_yaml import read
from sidecar.workbench.doctor.context import Context, error, warning
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.profile import PROFILES

_HINT = "remove it; for the path without the query write %PATH(NQ)%"
MAX_FORMAT = 2000  # characters; doctor may read each command to the end of the text
_NAME = re.compile("[A-Z][A-Z0-9_]*")


class Words(NamedTuple):
    """The commands and headers in ``formats.yaml``, by what they may show."""

    commands: frozenset[str]
    request_headers: frozenset[str]
    response_headers: frozenset[str]
    secret_headers: frozenset[str]
    secret_commands: Mapping[str, str]
    namespaces: frozenset[str]


@cache
def words(profile: str = "default") -> Words:
    """Read the lists of a profile."""
    raw = read(PROFILES / profile / "formats.yaml")
    secret = raw.pop("secret_commands")
    return Words(**{key: frozenset(value) for key, value in raw.items()}, secret_commands=secret)


def log_format(part: Part, _context: Context) -> Iterator[Problem]:
    """Yield what a format writes that may contain a token."""
    for key in ("text_format", "json_format"):
        yield from _tree((*part.place, part.key(key)), part.get(key))
    if part.has("text_format_source"):
        source = part.below("text_format_source")
        if isinstance(source.get("inline_string"), str) and len(source.value) == 1:
            place = (*source.place, source.key("inline_string"))
            yield from _tree(place, source.get("inline_string"))
        else:
            message = "the format is not in this file, so it is not examined"
            yield error(source.place, "log", message, "text_format_source: {inline_string: ...}")


def header_value(part: Part, _context: Context) -> Iterator[Problem]:
    """Yield what a header of Envoy's own answers shows that may contain a token."""
    yield from _tree((*part.place, part.key("value")), part.get("value"))


def _tree(place: Place, value: object) -> Iterator[Problem]:
    if isinstance(value, str):
        for message in _text(value):
            severe = message.endswith(("token", "secrets"))
            yield (error if severe else warning)(place, "log", message, _HINT)
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tree((*place, key), item)


def _text(text: str) -> Iterator[str]:
    """Yield problems of the commands of a format: ``%NAME(ARGUMENTS):LENGTH%``."""
    if len(text) > MAX_FORMAT:
        yield f"more than {MAX_FORMAT} characters are not examined; they may hide a token"
        return
    closed = 0  # where the last command ended
    for start in (match.start() for match in re.finditer("%", text)):
        name = _NAME.match(text, start + 1)
        if name is None:
            continue
        end, arguments = name.end(), ""
        if text[end : end + 1] == "(":
            closing = text.find(")", end)
            if closing < 0:
                yield f"the command {quoted(text[start:])} is not closed, so it may hide a token"
                return
            arguments, end = text[end + 1 : closing], closing + 1
        elif start < closed:
            continue  # the end of a command, with text after it
        closed = max(closed, text.find("%", end) + 1)
        yield from _command(name[0], arguments)


def _command(name: str, arguments: str) -> Iterator[str]:
    known = words()
    shown = quoted(f"%{name}({arguments})%" if arguments else f"%{name}%")
    first = arguments.partition(":")[0]
    if name in known.commands:
        return
    if name in known.secret_commands:
        yield f"{shown} writes {known.secret_commands[name]}"
    elif name == "PATH":
        if first != "NQ":
            yield f"{shown} writes the query, which may carry a token"
    elif name in {"DYNAMIC_METADATA", "FILTER_STATE"}:
        if first not in known.namespaces:
            yield f"{shown} writes what another filter keeps; it is not known to be harmless"
    elif name in {"REQ", "RESP", "TRAILER"}:
        yield from _headers(shown, name, arguments)
    else:
        yield f"{shown} is not a command that doctor knows to be harmless"


def _headers(shown: str, command: str, arguments: str) -> Iterator[str]:
    known = words()
    names = [name.strip().lower() for name in arguments.split("?")]
    harmless = known.request_headers if command == "REQ" else known.response_headers
    if known.secret_headers.intersection(names):
        yield f"{shown} writes a header that may carry a token"
    elif not harmless.issuperset(names):
        yield f"{shown} writes a header that doctor does not know to be harmless"

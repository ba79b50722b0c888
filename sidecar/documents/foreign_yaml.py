"""YAML of other programs, read event by event, so that depth and aliases cost no more than text."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

import yaml

from sidecar.documents.document import Document, Fault, Mark
from sidecar.documents.findings import Place, quoted
from sidecar.documents.yaml_source import events, plain_value, syntax_fault

MAX_BYTES = 16 * 1024 * 1024  # the largest OpenAPI documents have 10; takes some 15 s
MAX_VALUES = 4_000_000  # merged ones count each time; each takes about 200 bytes
MAX_DEPTH = 100  # what other programs' schemas nest
MAX_NOTES = 20  # odd things that are named

__all__ = ["plain_value", "read"]

_COLUMNS = (
    1 << 32
)  # a position is one number, line * _COLUMNS + column: a tuple takes twice as much

# What libyaml refuses in a text, or takes for a line break although YAML 1.2 does not (U+0085,
# U+2028, U+2029); a character of a private-use area stands for each while it reads.
_REFUSED = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_PRIVATE = range(0xE000, 0xF900)
# A surrogate pair, which libyaml refuses as escapes; and an escaped backslash before a "u".
_PAIR = re.compile(r"\\\\|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
# libyaml reads keys of at most 1024 bytes. A key without quotes takes the spaces before its colon
# with it: to look for them after each of its characters takes quadratic time.
_LONG_KEY = re.compile(
    r"""
    ^([ ]*(?:-[ ]+)*)
    (?: "((?:[^"\\\n]|\\.){250,})"[ ]*
      | '((?:[^'\n]|''){250,})'[ ]*
      | ([^\s"'\[{&*!|>%@`#-][^\n\#]{249,}?)
    )
    (?=:(?:\s|$))
    """,
    re.MULTILINE | re.VERBOSE,
)
_DOUBLE, _SINGLE = 2, 3  # its groups


def read(text: str, scalar: Callable[[str], object]) -> "YamlDocument":
    """Read the first YAML document; ``scalar`` gives the value of text without quotes."""
    document = YamlDocument()
    if len(text) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB and not JSON"
        document.faults.append(Fault(Mark(1, 1), "yaml-size", message))
        return document
    disguise = _Disguise(text)
    composer = _Composer(document, scalar, disguise)
    with suppress(_EnoughError):
        try:
            for event in events(disguise.text):
                composer.take(event)
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter from PyYAML
            document.faults.append(syntax_fault(error))
            return document
        except _EndError:
            pass
        if document.value is None:
            document.faults.append(Fault(Mark(1, 1), "yaml-empty", "the file is empty"))
        document.complete = not document.faults
    return document


class YamlDocument(Document):
    """A document whose positions belong to lists and mappings, wherever they are used."""

    __slots__ = ("positions",)

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[int, dict[str | int, int]] = {}  # by id, of a container

    def mark(self, place: Place) -> Mark:
        """Return the position of a place, or of the nearest enclosing one that has a position."""
        at = _COLUMNS + 1
        value: Any = self.value
        for part in place:
            at = self.positions.get(id(value), {}).get(part, at)
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                break
        return Mark(*divmod(at, _COLUMNS))


class _Disguise:
    """Text as libyaml accepts it, and what it stands for."""

    def __init__(self, text: str) -> None:
        self._long: list[tuple[int, re.Match[str]]] = []  # with the group of _LONG_KEY
        refused = sorted(set(_REFUSED.findall(text)))
        free = (chr(code) for code in _PRIVATE if chr(code) not in text)
        table = dict(zip(map(ord, refused), free, strict=False))
        self._back = {ord(private): chr(code) for code, private in table.items()}
        if table:
            text = text.translate(table)
        if "\\u" in text:
            text = _PAIR.sub(_joined, text)
        self._mark = next(free, "")
        if self._mark and _LONG_KEY.search(text):
            text = _LONG_KEY.sub(self._shorten, text)
        self._key = re.compile(f'"?{self._mark}([0-9]+){self._mark}"?') if self._long else None
        self.text = text

    def plain(self, text: str) -> str:
        """Return what a scalar is in the file."""
        if self._key is not None:
            text = self._key.sub(self._lengthen, text)
        return text.translate(self._back) if self._back else text

    def _shorten(self, found: re.Match[str]) -> str:
        self._long.append((found.lastindex or 0, found))
        return f'{found[1]}"{self._mark}{len(self._long) - 1}{self._mark}"'

    def _lengthen(self, found: re.Match[str]) -> str:
        group, key = self._long[int(found[1])]
        if found[0][0] == '"':  # within a text of several lines
            return key[0][len(key[1]) :]
        if group == _DOUBLE:
            return str(yaml.safe_load(f'"{key[group]}"'))
        return key[group].replace("''", "'") if group == _SINGLE else key[group].rstrip()


def _joined(found: re.Match[str]) -> str:
    if not found[1]:
        return found[0]
    high, low = int(found[1], 16), int(found[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


class _EnoughError(Exception):
    """A limit is reached."""


class _EndError(Exception):
    """The first document is read."""


class _Frame(NamedTuple):
    """An open mapping or list. ``key`` holds the mapping's key whose value comes next."""

    into: dict[str, object] | list[object]
    marks: dict[str | int, int]
    key: list[str | None]  # None: the value is left out
    merged: list[object]


class _Composer:
    """Events to values, without recursion."""

    def __init__(
        self, document: YamlDocument, scalar: Callable[[str], object], disguise: _Disguise
    ) -> None:
        self.document = document
        self.scalar = scalar
        self.disguise = disguise
        self.anchors: dict[str, object] = {}
        self.frames: list[_Frame] = []
        self.values = 0
        self.ignored = 0  # how many collections are open inside a key

    def take(self, event: Any) -> None:
        """Read one event."""
        if self.ignored:
            self._ignore(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(self.frames.pop())
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                self._fault(event, f"the alias {quoted(f'*{event.anchor}')} has no anchor")
            value = self.anchors[event.anchor]
            if self._expects_key():
                self._begin(event, value if isinstance(value, str) else None)
            else:
                self._put(event, value)
        elif isinstance(event, yaml.DocumentStartEvent) and self.values:
            self._note(event, "a second document begins here; it is not read")
            raise _EndError

    def _scalar(self, event: Any) -> None:
        text: str = self.disguise.plain(event.value)
        if self._expects_key():
            if event.anchor is not None:
                self.anchors[event.anchor] = text
            merges = text == "<<" and not event.style
            self._begin(event, None if event.tag == "!ignore" else text, merges)
            return
        quoted_ = event.style or event.tag in ("!", "tag:yaml.org,2002:str")
        value = text if quoted_ else self.scalar(text)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        self._put(event, value)

    def _open(self, event: Any) -> None:
        if len(self.frames) >= MAX_DEPTH:
            self._fault(event, f"values are nested more than {MAX_DEPTH} levels deep", "yaml-depth")
        if self._expects_key():
            self._note(event, "a list or a mapping is a key; the entry is left out")
            self.ignored = 1
            return
        into: dict[str, object] | list[object]
        into = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor is not None:
            self.anchors[event.anchor] = into
        self._put(event, into)
        self.frames.append(_Frame(into, {}, [], []))
        self.document.positions[id(into)] = self.frames[-1].marks

    def _close(self, frame: _Frame) -> None:
        """Merge what ``<<`` names: own keys win, then the first of several mappings."""
        for source in frame.merged:
            for each in source if isinstance(source, list) else (source,):
                if not isinstance(each, dict) or not isinstance(frame.into, dict):
                    continue
                self.values += len(each)
                marks = self.document.positions[id(each)]
                for key in each:
                    if key not in frame.into:
                        frame.into[key] = each[key]
                        frame.marks[key] = marks[key]

    def _ignore(self, event: Any) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            self.ignored += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            self.ignored -= 1
            if not self.ignored:
                self.frames[-1].key.append(None)

    def _expects_key(self) -> bool:
        if not self.frames:
            return False
        frame = self.frames[-1]
        return isinstance(frame.into, dict) and not frame.key

    def _begin(self, event: Any, key: str | None, merges: bool = False) -> None:
        frame = self.frames[-1]
        if key is not None and key in frame.into:
            self._note(event, f"duplicate key {quoted(key)}; the last value counts")
        if key is not None:
            frame.marks[key] = _position(event)
        frame.key.append(_MERGE if merges else key)

    def _put(self, event: Any, value: object) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            self._fault(event, f"the file has more than {MAX_VALUES} values", "yaml-size")
        if not self.frames:
            self.document.value = value
            return
        frame = self.frames[-1]
        if isinstance(frame.into, list):
            frame.marks[len(frame.into)] = _position(event)
            frame.into.append(value)
            return
        key = frame.key.pop()
        if key is _MERGE:
            frame.merged.append(value)
        elif key is not None:
            frame.into[key] = value

    def _note(self, event: Any, message: str) -> None:
        if len(self.document.notes) < MAX_NOTES:
            mark = Mark(*divmod(_position(event), _COLUMNS))
            self.document.notes.append(Fault(mark, "foreign", message))

    def _fault(self, event: Any, message: str, code: str = "yaml-alias") -> NoReturn:
        mark = Mark(*divmod(_position(event), _COLUMNS))
        self.document.faults.append(Fault(mark, code, message))
        raise _EnoughError


_MERGE = str("\ufffe<<")  # noqa: UP018 -- compared by identity


def _position(event: Any) -> int:
    mark = event.start_mark
    return int((mark.line + 1) * _COLUMNS + mark.column + 1)

"""YAML as plain values with their positions, without YAML's surprises.

Only what a configuration needs is supported: mappings, lists, text, numbers, ``true``, ``false``
and ``null``. What is not a number in JSON's grammar is text, so ``no``, ``on``, ``0660`` and
``2026-01-01`` are text. Anchors, aliases, merge keys, tags and a second document are refused: none
is needed here, and each lets a short file have large or surprising content.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import yaml

from sidecar.documents.document import Document, Fault, Mark
from sidecar.documents.findings import Place, quoted

MAX_BYTES = 8 * 1024 * 1024  # ten thousand routes with every key take about 4 MiB
MAX_VALUES = 500_000  # twice those of such routes; each costs some 300 bytes while it is read
MAX_DEPTH = 20  # the deepest valid value is seven levels down
MAX_PROBLEMS = 100  # more would hide the first ones

# The C parser is ten times faster; a build of PyYAML without it has the same events.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,300})")
_FRACTION = re.compile(r"-?(0|[1-9][0-9]{0,300})(\.[0-9]+)?([eE][-+]?[0-9]+)?")

# YAML 1.2, section 5.1: what a stream may hold; less U+0085, U+2028 and U+2029, line breaks that
# only a reader of YAML 1.1 knows.
_NOT_PRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_NOT_IN_A_VALUE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def read_yaml(data: bytes) -> Document:
    """Read the one YAML document in ``data``; its ``faults`` are the problems."""
    document = Document()
    text = _decode(data, document.faults)
    if text is not None:
        _Composer(document).compose(events(text))
    return document


def _decode(data: bytes, faults: list[Fault]) -> str | None:
    if len(data) > MAX_BYTES:
        limit = f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB"
        faults.append(Fault(Mark(1, 1), "yaml-size", limit))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        faults.append(
            Fault(
                _position(before),
                "yaml-encoding",
                "the file is not valid UTF-8",
                "save the file as UTF-8",
            )
        )
        return None
    if strange := _NOT_PRINTABLE.search(text):
        message = f"the control character {quoted(strange[0])} is not allowed in YAML"
        faults.append(Fault(_position(text[: strange.start()]), "yaml-encoding", message))
        return None
    return text


def _position(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def events(text: str) -> Iterator[Any]:
    """Yield the events of PyYAML. Raises yaml.YAMLError, ValueError or OverflowError."""
    loader = LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def plain_value(text: str) -> object:
    """Return the value of a scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "-0123456789":
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FRACTION.fullmatch(text):
            return float(text)
    return text


def syntax_fault(error: Exception) -> Fault:
    """Return the fault of what PyYAML refuses."""
    position = getattr(error, "problem_mark", None)
    mark = Mark(position.line + 1, position.column + 1) if position else Mark(1, 1)
    problem = getattr(error, "problem", None) or "unknown error"
    hint = ""
    if "start any token" in problem:
        hint = "YAML indents with spaces, not tabs"
    elif problem in ("did not find expected key", "did not find expected '-' indicator"):
        hint = "is this line indented like those beside it?"
    return Fault(mark, "yaml-syntax", f"this is not valid YAML: {problem}", hint)


class _EnoughError(Exception):
    """The limit of faults is reached, or reading cannot continue."""


class _Frame(NamedTuple):
    """An open mapping or list. ``key`` holds the mapping's key whose value comes next."""

    place: Place
    into: dict[str, object] | list[object]
    key: list[str]


class _Composer:
    """Events to values, without recursion."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.frames: list[_Frame] = []
        self.documents = 0
        self.values = 0
        self.ignored = 0  # how many collections are open inside one that is refused

    def compose(self, events: Iterable[Any]) -> None:
        with suppress(_EnoughError):
            try:
                for event in events:
                    self._take(event)
            except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter from PyYAML
                self._add(syntax_fault(error))
                return
            if self.document.value is None:
                self._fault(Mark(1, 1), "yaml-empty", "the file is empty")
                return
            self.document.complete = True

    def _take(self, event: Any) -> None:
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if self.ignored:
            self._ignore(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, mark)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.frames.pop()
        elif isinstance(event, yaml.AliasEvent):
            # Here and below the text is not quoted: it may be a secret that lacks its quotes.
            hint = 'write the value out; text that begins with * needs quotes, as in "*"'
            self._fault(mark, "yaml-alias", "an alias is not supported", hint)
            self._refuse(mark)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                message = "a second document begins here"
                self._fault(mark, "yaml-documents", message, "a file has one document")
                raise _EnoughError

    def _scalar(self, event: Any, mark: Mark) -> None:
        text: str = event.value
        accepted = self._accepts_extras(event, mark)
        if strange := _NOT_IN_A_VALUE.search(text):
            message = f"the control character {quoted(strange[0])} is not allowed in a value"
            self._fault(mark, "yaml-value", message)
            accepted = False
        if not accepted:
            self._refuse(mark)
            return
        value = text if event.style else plain_value(text)
        if self._expects_key():
            if text == "<<" and not event.style:
                message = "the merge key `<<` is not supported"
                self._fault(mark, "yaml-alias", message, "write the keys out")
            elif not text:
                self._fault(mark, "yaml-key", "a key is empty")
            elif not isinstance(value, str):
                message = f"a key must be text, not {quoted(text)}"
                self._fault(mark, "yaml-key", message, f'put it in quotes: "{text}"')
            self._begin(text, mark)
            return
        place = self._put(value, mark)
        if not isinstance(value, str):
            self.document.texts[place] = text

    def _open(self, event: Any, mark: Mark) -> None:
        self._accepts_extras(event, mark)
        if len(self.frames) >= MAX_DEPTH:
            message = f"values are nested more than {MAX_DEPTH} levels deep"
            self._fault(mark, "yaml-depth", message)
            raise _EnoughError
        if self._expects_key():
            message = "a key must be text, not a list or a mapping"
            hint = 'text that begins with [ or { needs quotes, as in "{x}"'
            self._fault(mark, "yaml-key", message, hint)
            self.ignored = 1
            return
        into: dict[str, object] | list[object]
        into = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.frames.append(_Frame(self._put(into, mark), into, []))

    def _ignore(self, event: Any) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            self.ignored += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            self.ignored -= 1
            if not self.ignored:
                self.frames[-1].key.append("")

    def _refuse(self, mark: Mark) -> None:
        """Leave out a key or a value whose fault is noted."""
        if self._expects_key():
            self._begin("", mark)
        else:
            self.document.refused.add(self._put(None, mark))

    def _expects_key(self) -> bool:
        return (
            bool(self.frames) and isinstance(self.frames[-1].into, dict) and not self.frames[-1].key
        )

    def _begin(self, key: str, mark: Mark) -> None:
        frame = self.frames[-1]
        place = (*frame.place, key)
        if isinstance(frame.into, dict) and key in frame.into:
            first = self.document.marks[place]
            message = f"duplicate key {quoted(key)}"
            self._fault(mark, "duplicate-key", message, f"first defined at line {first.line}")
            key = ""  # the value is read and ignored
        elif key:
            self.document.marks[place] = mark
        frame.key.append(key)

    def _put(self, value: object, mark: Mark) -> Place:
        """Put a value in its place; under the empty key it is ignored."""
        self.values += 1
        if self.values > MAX_VALUES:
            self._fault(mark, "yaml-size", f"the file has more than {MAX_VALUES} values")
            raise _EnoughError
        if not self.frames:
            self.document.value = value
            self.document.marks[()] = mark
            return ()
        frame = self.frames[-1]
        if isinstance(frame.into, list):
            place = (*frame.place, len(frame.into))
            frame.into.append(value)
            self.document.marks[place] = mark
            return place
        key = frame.key.pop()
        if key:
            frame.into[key] = value
        return (*frame.place, key)

    def _accepts_extras(self, event: Any, mark: Mark) -> bool:
        if event.anchor is not None:
            hint = "write the value out where it is needed; text that begins with & needs quotes"
            self._fault(mark, "yaml-alias", "an anchor is not supported", hint)
        if event.tag is not None:
            hint = "text that begins with ! needs quotes"
            self._fault(mark, "yaml-tag", "a tag is not supported", hint)
        return event.tag is None

    def _fault(self, mark: Mark, code: str, message: str, hint: str = "") -> None:
        self._add(Fault(mark, code, message, hint))

    def _add(self, fault: Fault) -> None:
        self.document.faults.append(fault)
        if len(self.document.faults) >= MAX_PROBLEMS:
            raise _EnoughError

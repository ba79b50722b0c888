"""JSON of other programs: the whole of it at the speed of C, line numbers only where asked for."""

import json
import re
from bisect import bisect_left
from collections import Counter
from itertools import count
from typing import Any, NamedTuple

from sidecar.documents.document import Document, Fault, Mark
from sidecar.documents.findings import Place, quoted
from sidecar.documents.untyped import sequence

MAX_VALUES = 8_000_000  # twice those of a dense file of 64 MiB; empty lists could be four times it
MAX_NOTES = 20  # duplicate keys that are named
MAX_DIGITS = 300  # of an integer; reading more takes quadratic time

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(strict=False)


class _Child(NamedTuple):
    """Offsets of a child's key (of its value in a list) and of its value."""

    key: int
    value: int


class JsonDocument(Document):
    """A document that finds positions in its text when it is asked for them.

    A position belongs to a list or mapping, not to its place. Before code moves one within the
    document, it asks for the ``mark`` of its place.
    """

    __slots__ = ("_breaks", "_duplicates", "_known", "_starts", "_text")

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self._breaks: list[int] = []
        # By id, of a container: itself, so that its id stays its own, and where it starts.
        self._starts: dict[int, tuple[object, int]] = {}
        self._known: dict[int, dict[str | int, _Child]] = {}
        self._duplicates: dict[int, list[str]] = {}

    def read(self, text: str) -> None:
        """Read the first value of ``text``; neither complete nor faulty if it is not JSON."""
        if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
            message = f"the file has more than {MAX_VALUES} values"
            self.faults.append(Fault(Mark(1, 1), "yaml-size", message))
            return
        decoder = json.JSONDecoder(
            object_pairs_hook=self._mapping, parse_int=_integer, strict=False
        )
        start = _skip(text, 0)
        try:
            value, end = decoder.raw_decode(text, start)
        except RecursionError:
            self.faults.append(Fault(Mark(1, 1), "yaml-depth", "values are nested too deep"))
            return
        except ValueError:
            return
        self._text = text
        self._breaks = [each.start() for each in re.finditer("\n", text)]
        rest = _skip(text, end)
        if rest < len(text):
            if text[rest] not in "{[":
                return  # YAML, such as `[a]: b`, or an error that its reader names
            message = "a second document begins here; it is not read"
            self.notes.append(Fault(self._position(rest), "foreign", message))
        self.value, self.complete = value, True
        self._starts[id(value)] = value, start
        if self._duplicates:
            self._name_duplicates()

    def mark(self, place: Place) -> Mark:
        """Return the position of a place, or of the nearest enclosing one that has a position."""
        at = 0
        value: Any = self.value
        for part in place:
            child = self._children(value).get(part)
            at = at if child is None else child.key
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                break
            if child is not None and id(value) not in self._starts:
                self._starts[id(value)] = value, child.value
        return self._position(at)

    def _children(self, value: object) -> dict[str | int, _Child]:
        """Return where the children of a mapping or list are; nothing for what was not read."""
        if id(value) not in self._starts or not isinstance(value, dict | list):
            return {}
        if id(value) not in self._known:
            self._known[id(value)] = _children(self._text, self._starts[id(value)][1])
        return self._known[id(value)]

    def _position(self, offset: int) -> Mark:
        line = bisect_left(self._breaks, offset)
        return Mark(line + 1, offset - (self._breaks[line - 1] if line else -1))

    def _mapping(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) != len(pairs) and len(self._duplicates) < MAX_NOTES:
            counts = Counter(key for key, _ in pairs)
            self._duplicates[id(value)] = [key for key in counts if counts[key] > 1]
            self._starts[id(value)] = value, -1  # keeps its id
        return value

    def _name_duplicates(self) -> None:
        """Note duplicate keys, which the decoder reports without a place."""
        for key in self._duplicates:
            if self._starts[key][1] < 0:
                del self._starts[key]
        left: list[tuple[Place, object]] = [((), self.value)]
        while left:
            place, value = left.pop()
            for name in self._duplicates.pop(id(value), ()):
                message = f"duplicate key {quoted(name)}; the last value counts"
                self.notes.append(Fault(self.mark((*place, name)), "foreign", message))
            if not self._duplicates:
                return
            pairs = value.items() if isinstance(value, dict) else enumerate(sequence(value))
            left += (((*place, key), item) for key, item in pairs if isinstance(item, dict | list))


def _children(text: str, start: int) -> dict[str | int, _Child]:
    """Return the offsets of what the container at ``start`` holds; its text is valid JSON."""
    found: dict[str | int, _Child] = {}
    at = _skip(text, start + 1)
    for index in count():
        if text[at] in "}]":
            return found
        key: str | int = index
        value = at
        if text[start] == "{":
            key, end = _DECODER.raw_decode(text, at)
            value = _skip(text, _skip(text, end) + 1)
        found[key] = _Child(at, value)
        at = _skip(text, _DECODER.raw_decode(text, value)[1])
        if text[at] == ",":
            at = _skip(text, at + 1)
    raise AssertionError


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)

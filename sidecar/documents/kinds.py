"""Kinds of values: what a file may contain, and what it becomes in the program.

A kind reads a plain value from a file. It notes each problem, with a correction, and continues, so
that all errors of a file are reported together.

This is our own code because the library for it costs each sidecar 12 MB of memory and 0.15 s of
its start, and each of its error messages would have to be rewritten.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from sidecar.documents.findings import BadValueError, Place, Problem, one_of, quoted
from sidecar.documents.values import non_blank, seconds, size

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_TRUTH = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class RefusedError(Exception):
    """A value is invalid, and the reason is noted."""


@dataclass(slots=True)
class Notes:
    """The context of reading, and the problems found.

    ``base`` is the directory that files are relative to; ``written`` has the original text of
    values that are not text.
    """

    base: Path = Path()
    written: Mapping[Place, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, place: Place, code: str, message: str, hint: str = "") -> RefusedError:
        """Note a problem; return the exception to raise."""
        self.problems.append(Problem(place, code, f"{name_of(place)} {message}", hint))
        return RefusedError()

    def wrong_type(self, value: object, place: Place, wanted: str, hint: str = "") -> RefusedError:
        """Note that a value is of another type than ``wanted``; return the exception to raise."""
        if value is None:
            return self.refuse(place, "wrong-type", "is empty", f"it must be {wanted}")
        return self.refuse(place, "wrong-type", f"must be {wanted}, not {_type(value)}", hint)


class Kind(Protocol):
    """What the value of a key can be."""

    def read(self, value: object, place: Place, notes: Notes) -> Any:
        """Return the value as the program uses it. Raises RefusedError after noting the reason."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text; ``check`` returns it as the program uses it, or raises BadValueError."""

    check: Callable[[str], Any] = non_blank
    shown: bool = True  # whether a message may repeat it

    def read(self, value: object, place: Place, notes: Notes) -> Any:
        """Read text."""
        if not isinstance(value, str):
            written = notes.written.get(place) if self.shown else None
            if not written:
                raise notes.wrong_type(value, place, "text")
            try:
                self.check(written)
            except BadValueError as error:  # quotes would not make it valid
                raise notes.refuse(place, "bad-value", str(error), error.help) from None
            raise notes.wrong_type(value, place, "text", f'put it in quotes: "{written}"')
        try:
            return self.check(value)
        except BadValueError as error:
            raise notes.refuse(place, "bad-value", str(error), error.help) from None


@dataclass(frozen=True, slots=True)
class File:
    """A file's path, relative to the directory of the file that names it."""

    shown: bool = True  # whether a message may repeat it; False if it may be the secret itself

    def read(self, value: object, place: Place, notes: Notes) -> Path:
        """Read a path."""
        return notes.base / str(Text(shown=self.shown).read(value, place, notes))


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false; ``wanted`` says so in an error, with other values that the key may have."""

    wanted: str = "true or false"

    def read(self, value: object, place: Place, notes: Notes) -> bool:
        """Read ``true`` or ``false``."""
        if isinstance(value, bool):
            return value
        hint = ""
        if isinstance(value, str):
            word = value.lower()
            hint = f"write {_TRUTH[word]}" if word in _TRUTH else ""
            hint = "write it without quotes" if word in {"true", "false"} else hint
        raise notes.wrong_type(value, place, self.wanted, hint)


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer; both bounds are included."""

    minimum: int
    maximum: int

    def read(self, value: object, place: Place, notes: Notes) -> int:
        """Read an integer."""
        if not isinstance(value, int) or isinstance(value, bool):
            digits = isinstance(value, str) and value.isdigit()
            hint = "write it without quotes" if digits else ""
            raise notes.wrong_type(value, place, "an integer", hint)
        if not self.minimum <= value <= self.maximum:
            message = f"must be from {self.minimum} to {self.maximum}, not {quoted(str(value))}"
            raise notes.refuse(place, "bad-value", message)
        return value


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration with a unit in the file, seconds in the program; both bounds are included."""

    minimum: str
    maximum: str

    def read(self, value: object, place: Place, notes: Notes) -> float:
        """Read a duration."""
        if not isinstance(value, str):
            hint = "such as 250ms, 30s, 5m or 1h"
            if isinstance(value, int) and not isinstance(value, bool):
                hint = f"such as {value}s; the units are ms, s, m, h and d"
            raise notes.wrong_type(value, place, "a duration with a unit", hint)
        found: float = Text(seconds).read(value, place, notes)
        if not seconds(self.minimum) <= found <= seconds(self.maximum):
            message = f"must be from {self.minimum} to {self.maximum}, not {quoted(value)}"
            raise notes.refuse(place, "bad-value", message)
        return found


@dataclass(frozen=True, slots=True)
class Size:
    """A size with a unit in the file, bytes in the program; both bounds are included."""

    minimum: str
    maximum: str

    def read(self, value: object, place: Place, notes: Notes) -> int:
        """Read a size."""
        if not isinstance(value, str):
            hint = "such as 512KiB, 32MiB or 1GiB"
            raise notes.wrong_type(value, place, "a size with a unit", hint)
        found: int = Text(size).read(value, place, notes)
        if not size(self.minimum) <= found <= size(self.maximum):
            message = f"must be from {self.minimum} to {self.maximum}, not {quoted(value)}"
            raise notes.refuse(place, "bad-value", message)
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several words.

    ``former`` is the help for the former values ``true`` and ``false``, ``hint`` for a word that is
    like none of them.
    """

    words: tuple[str, ...]
    former: Mapping[bool, str] = field(default_factory=dict)
    hint: str = ""

    def read(self, value: object, place: Place, notes: Notes) -> str:
        """Read one of the words."""
        if isinstance(value, str) and value in self.words:
            return value
        wanted = one_of(self.words)
        if not isinstance(value, str):
            hint = self.former.get(value, "") if isinstance(value, bool) else ""
            raise notes.wrong_type(value, place, wanted, hint)
        near = get_close_matches(value.lower(), self.words, n=1)
        hint = f"did you mean {near[0]}?" if near else self.hint
        raise notes.refuse(place, "bad-value", f"must be {wanted}, not {quoted(value)}", hint)


@dataclass(frozen=True, slots=True)
class List:
    """A list in the file, a tuple in the program. ``or_one`` also accepts one item without a list.

    ``unique`` refuses repeated items.
    """

    of: Kind
    min_items: int = 0
    max_items: int | None = None
    or_one: bool = False
    unique: bool = False

    def read(self, value: object, place: Place, notes: Notes) -> tuple[Any, ...]:
        """Read a list."""
        if self.or_one and isinstance(value, str):
            return (self.of.read(value, place, notes),)
        if not isinstance(value, list):
            hint = f"write {_as_list(value)}" if isinstance(value, str) else ""
            wanted = "text or a list of texts" if self.or_one else "a list"
            raise notes.wrong_type(value, place, wanted, hint)
        if len(value) < self.min_items:
            raise notes.refuse(place, "bad-value", "must not be an empty list")
        if self.max_items is not None and len(value) > self.max_items:
            message = f"has {len(value)} items; the maximum is {self.max_items}"
            raise notes.refuse(place, "bad-value", message)
        items: list[Any] = []
        refused = False
        first: dict[Any, int] = {}
        for index, entry in enumerate(value):
            try:
                item = self.of.read(entry, (*place, index), notes)
            except RefusedError:
                refused = True
                continue
            if self.unique and first.setdefault(item, index) != index:
                message = f"is a duplicate of item {first[item] + 1}"
                notes.refuse((*place, index), "bad-value", message)
                refused = True
            items.append(item)
        if refused:
            raise RefusedError
        return tuple(items)


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping whose keys the operator chooses; ``key`` is what each key is."""

    of: Kind
    key: Text = Text()
    max_items: int | None = None

    def read(self, value: object, place: Place, notes: Notes) -> dict[str, Any]:
        """Read a mapping."""
        if not isinstance(value, dict):
            raise notes.wrong_type(value, place, "a mapping of keys")
        if self.max_items is not None and len(value) > self.max_items:
            message = f"has {len(value)} keys; the maximum is {self.max_items}"
            raise notes.refuse(place, "bad-value", message)
        entries: dict[str, Any] = {}
        refused = False
        for written, entry in value.items():
            here = (*place, written)
            try:
                key, read = self.key.read(written, here, notes), self.of.read(entry, here, notes)
            except RefusedError:
                refused = True
                continue
            if key in entries:
                notes.refuse(here, "duplicate-key", f"is the key {quoted(key)} a second time")
                refused = True
            entries[key] = read
        if refused:
            raise RefusedError
        return entries


@dataclass(frozen=True, slots=True)
class Optional:
    """A value, or ``null``."""

    of: Kind

    def read(self, value: object, place: Place, notes: Notes) -> Any:
        """Read the value, or None."""
        return None if value is None else self.of.read(value, place, notes)


def name_of(place: Place) -> str:
    """Return how messages call a value: by its key, and a list item also by its number."""
    keys = [part for part in place if isinstance(part, str)]
    if not keys:
        return "the file"
    last = place[-1]
    return f"item {last + 1} of {quoted(keys[-1])}" if isinstance(last, int) else quoted(keys[-1])


def _as_list(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text not in {"true", "false", "null"}
    return f"[{text}]" if plain else f'["{text}"]'


def _type(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping"

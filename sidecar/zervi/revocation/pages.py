"""Reads a page of the feed entry by entry, so that a large one never holds the event loop.

``{"entries": [...], "cursor": "..."}``, with the members in any order and others between them.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from sidecar.core.tokens.strict_json import MAX_INTEGER_CHARS
from sidecar.core.tokens.wrong_documents import known_by_its_beginning
from sidecar.zervi.revocation.interface import MAX_CURSOR

MAX_PAGE_BYTES: Final = 16 * 1024 * 1024  # 100,000 entries of the longest usual kind have 9 MiB
WINDOW: Final = 128 * 1024  # characters of one entry, which is read within two milliseconds
MAX_MEMBERS: Final = 100  # of the object

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class PageError(Exception):
    """The page is not as the contract says; the message quotes nothing of it."""


class Page:
    """One page. Iterate over it to its end; then ``cursor`` is that of the page, None without."""

    def __init__(self, document: bytes) -> None:
        """Raise PageError for what is not text of a JSON object."""
        if (what := known_by_its_beginning(document)) is not None:
            raise PageError(what)
        try:
            self._text = document.decode("utf-8")
        except UnicodeDecodeError:
            raise PageError("not UTF-8") from None
        self._base = 0  # where the window begins
        self._window = self._text[:WINDOW]
        self.cursor: str | None = None
        self.entries = 0
        self._at = 0

    def __iter__(self) -> Iterator[object]:
        """Yield each entry. Raises PageError where the document is not as it must be."""
        found = False
        self._expect("{")
        names: set[str] = set()
        while self._peek() != "}":
            if names:
                self._expect(",")
            name = self._value()
            if not isinstance(name, str) or name in names or len(names) == MAX_MEMBERS:
                raise PageError("not a JSON object, or it has a key twice")
            names.add(name)
            self._expect(":")
            if name == "entries":
                found = True
                yield from self._items()
            else:
                value = self._value()
                if name == "cursor":
                    self.cursor = _cursor(value)
        self._expect("}")
        if self._peek():
            raise PageError("more than one JSON value")
        if not found:
            raise PageError("it has no `entries`")

    def _items(self) -> Iterator[object]:
        if self._peek() != "[":
            raise PageError("`entries` is not a list")
        self._expect("[")
        first = True
        while self._peek() != "]":
            if not first:
                self._expect(",")
            first = False
            entry = self._value()
            self.entries += 1
            yield entry
        self._expect("]")

    def _peek(self) -> str:
        """Return the next character that is not space; "" at the end."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise PageError("not JSON, or it ends early")
        self._at += 1

    def _value(self) -> Any:
        """Return the value that is next; the parser sees a window of the text, which moves on."""
        self._peek()
        while True:
            place, size = self._at - self._base, len(self._window)
            try:
                value, end = _DECODER.raw_decode(self._window, place)
            except (ValueError, RecursionError):
                value, end = None, size + 1
            last = self._base + size == len(self._text)
            if end < size or (last and end == size):
                self._at = self._base + end
                return value
            if last:
                raise PageError("not JSON, or it ends early")
            if not place:
                raise PageError(f"not JSON, or a value has more than {WINDOW} characters")
            self._base = self._at
            self._window = self._text[self._base : self._base + WINDOW]


def _cursor(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_CURSOR:
        raise PageError(f"`cursor` is not text of at most {MAX_CURSOR} characters")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise PageError("`cursor` has half a surrogate pair")
    return value or None


def _integer(literal: str) -> int:
    if len(literal) > MAX_INTEGER_CHARS:
        raise ValueError(literal)
    return int(literal)


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_constant=_constant)

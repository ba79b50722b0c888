"""Findings: a problem with a file, its position, and a correction."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

Place = tuple[str | int, ...]  # the path of a value in a document: keys and list indexes

MAX_QUOTED = 80  # characters of an operator's own text that a message repeats
MAX_MESSAGE = 500  # characters; our own messages are at most half as long


class Severity(StrEnum):
    """How much a finding weighs.

    An error prevents the start, a warning fails ``check --strict``, an info fails nothing.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(NamedTuple):
    """One thing found in one file.

    ``code`` is stable. ``line`` and ``column`` count from 1; both 0 mean the file as a whole.
    """

    code: str
    severity: Severity
    file: str
    line: int
    column: int
    message: str
    help: str = ""

    def __str__(self) -> str:
        position = f":{self.line}:{self.column}" if self.line else ""
        hint = f" ({self.help})" if self.help else ""
        return f"{one_line(self.file)}{position}: {self.severity}: {self.message}{hint}"


class Problem(NamedTuple):
    """A finding whose place in the document is not yet a position in the file."""

    place: Place
    code: str
    message: str
    help: str = ""
    severity: Severity = Severity.ERROR
    other: Place | None = None  # the place that it conflicts with; the finding names its line


def warning(
    place: Place, code: str, message: str, hint: str = "", other: Place | None = None
) -> Problem:
    """Return a problem that is a warning."""
    return Problem(place, code, message, hint, Severity.WARNING, other)


def info(
    place: Place, code: str, message: str, hint: str = "", other: Place | None = None
) -> Problem:
    """Return a problem that is an info."""
    return Problem(place, code, message, hint, Severity.INFO, other)


class ConfigError(Exception):
    """The configuration or the policy is invalid; ``findings`` has every finding."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class BadValueError(ValueError):
    """An invalid value.

    The message follows the key's name ("`refresh` must be …"); ``help`` is a correction.
    """

    def __init__(self, message: str, help: str = "") -> None:  # noqa: A002 -- the word that findings use
        super().__init__(message)
        self.help = help


def quoted(text: str) -> str:
    """Return an operator's own text for a message: of bounded length, in backticks."""
    return f"`{_shortened(text, MAX_QUOTED)}`"


def dotted(place: Place) -> str:
    """Return the path of a value as an operator writes it: ``zervi.issuers[0].secret_file``."""
    way = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return way.removeprefix(".")


def one_line(text: str) -> str:
    """Return a message as a terminal may show it: printable, of bounded length."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return _shortened(text, MAX_MESSAGE)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_of(words: Iterable[str]) -> str:
    """Return a choice for a message: ``a, b or c``."""
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last

"""The content of a file: plain values, and the position of each."""

from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.documents.findings import Place


class Mark(NamedTuple):
    """A position in a file; line and column count from 1, columns in characters."""

    line: int
    column: int


class Fault(NamedTuple):
    """Something that the reader refused, and where."""

    mark: Mark
    code: str
    message: str
    help: str = ""


@dataclass(slots=True)
class Document:
    """The one document of a file.

    ``marks`` has the position of each key and of each list item; ``texts`` has the original text
    of values that are not text. ``refused`` are the places whose value the reader refused.
    ``notes`` are what a reader of other programs' documents accepted, although it is odd.
    ``complete`` is False if the reader had to stop; then ``value`` must not be used.
    """

    value: object = None
    marks: dict[Place, Mark] = field(default_factory=dict)
    texts: dict[Place, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)
    refused: set[Place] = field(default_factory=set)
    complete: bool = False

    def mark(self, place: Place) -> Mark:
        """Return the position of a place, or of the nearest enclosing one that has a position."""
        while place and place not in self.marks:
            place = place[:-1]
        return self.marks.get(place, Mark(1, 1))

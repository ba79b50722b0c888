"""The latest decisions, as lines of the decision log, in memory of bounded size."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from typing import Final, NamedTuple

from sidecar.core.decision import DecisionRecord, outcome
from sidecar.ops.decision_log import LogSettings, render

MAX_BYTES: Final = 512 * 1024
"""Of the allowed ones, and of the others: each some 1,500 lines."""

ENTRY_BYTES: Final = 300
"""The objects of an entry beside its line."""

MAX_ALLOWED: Final = 100
MAX_OTHERS: Final = 500
"""Decisions that are kept in a second. Rendering one takes some 10 µs, as much as an allow itself,
and a person reads fewer. Denials are rarer, and each may be the one that is looked for."""


class Entry(NamedTuple):
    """A decision; ``number`` counts from 1, ``line`` is JSON as in the decision log."""

    number: int
    outcome: str
    reason: str
    route: str
    line: bytes


class Filter(NamedTuple):
    """Which decisions are shown; an empty text means all. A part of the route's name is enough."""

    outcome: str = ""
    reason: str = ""
    route: str = ""

    def admits(self, entry: Entry) -> bool:
        """Say whether a decision is shown."""
        return (
            self.outcome in ("", entry.outcome)
            and self.reason in ("", entry.reason)
            and self.route.casefold() in entry.route.casefold()
        )


class Recent:
    """The latest allowed decisions and the latest others: many of one displace none of the other.

    ``settings`` returns those of the decision log: what it may not have is not kept here either.
    """

    def __init__(self, settings: Callable[[], LogSettings]) -> None:
        self._settings = settings
        self._allowed: deque[Entry] = deque()
        self._others: deque[Entry] = deque()
        self._bytes = [0, 0]
        self._second = 0
        self._left = [MAX_ALLOWED, MAX_OTHERS]
        self._number = 0
        self.skipped = 0
        """How many decisions were not kept because there were too many in their second."""

    def records(self, records: Sequence[DecisionRecord]) -> None:
        """Keep decisions."""
        for record in records:
            second = int(record.time)
            if second != self._second:
                self._second, self._left = second, [MAX_ALLOWED, MAX_OTHERS]
            other = 0 if record.decision.reason.allows else 1
            if not self._left[other]:
                self.skipped += 1
                continue
            self._left[other] -= 1
            self._keep(record, other)

    def _keep(self, record: DecisionRecord, other: int) -> None:
        decision, (_, replayable, sources) = record.decision, self._settings()
        line = render(record, replayable=replayable, token_sources=sources)
        self._number += 1
        route = "" if decision.route is None else decision.route.name
        entry = Entry(self._number, outcome(decision), decision.reason, route, line)
        entries = self._others if other else self._allowed
        entries.append(entry)
        self._bytes[other] += len(line) + ENTRY_BYTES
        while self._bytes[other] > MAX_BYTES:
            self._bytes[other] -= len(entries.popleft().line) + ENTRY_BYTES

    @property
    def bytes(self) -> int:
        """The size of what is kept."""
        return sum(self._bytes)

    def latest(self, shown: Filter, limit: int) -> list[Entry]:
        """Return the latest decisions that are shown, the newest first."""
        found: list[Entry] = []
        for entry in self._newest_first():
            if shown.admits(entry):
                found.append(entry)
                if len(found) == limit:
                    break
        return found

    def find(self, number: int) -> Entry | None:
        """Return a decision by its number, None if it is not kept any more."""
        return next((entry for entry in self._newest_first() if entry.number == number), None)

    def _newest_first(self) -> Iterator[Entry]:
        return merge(
            reversed(self._allowed), reversed(self._others), key=lambda e: e.number, reverse=True
        )

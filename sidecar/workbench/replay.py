"""Finds which logged decisions a policy would change, in bounded memory."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.snapshot import Snapshot
from sidecar.workbench.log_fields import Fields
from sidecar.workbench.logs import CutPathError, Logged, UnusableLineError, read_line
from sidecar.workbench.rejudge import New, rejudge

MAX_GROUPS = 2_000  # changes that are counted separately
MAX_SAMPLES = 10  # requests that are named for each
MAX_REMEMBERED = 10_000  # decisions that are cached; most requests in a log repeat
MAX_NAME = 64  # characters of a route's name in a log, which is untrusted
MAX_PATH = 200


class Kind(StrEnum):
    """Kinds of changes, the most dangerous first."""

    NEWLY_ALLOWED = "newly allowed"
    NEWLY_DENIED = "newly denied"
    OTHER_REASON = "denied for another reason"


class Group(NamedTuple):
    """Changes of one kind on one route."""

    kind: Kind
    route: str
    old: str
    new: str


@dataclass(slots=True)
class Changes:
    """How often a change occurs, and for which requests (at most MAX_SAMPLES)."""

    count: int = 0
    samples: Counter[tuple[str, str, str]] = field(default_factory=Counter)


class Replay:
    """Compares logged decisions with those of another policy."""

    def __init__(self, snapshot: Snapshot, now: float, fields: Fields | None = None) -> None:
        self._snapshot = snapshot
        self._fields = fields
        self._now = now
        self._known: dict[tuple[object, ...], New | None] = {}
        self.requests = 0
        self.allowed = 0
        self.unknown = 0
        self.cut = 0  # of the unknown ones
        self.unusable: Counter[str] = Counter()
        self.groups: dict[Group, Changes] = {}

    def take(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Replay a log; after each line, yield the number of lines so far."""
        for done, line in enumerate(lines, 1):
            try:
                self._one(read_line(line, self._fields))
            except CutPathError as error:
                self.requests += 1
                self.allowed += error.allowed
                self.unknown += 1
                self.cut += 1
            except UnusableLineError as error:
                if line.strip():
                    self.unusable[str(error)] += 1
            yield done

    def count(self, kind: Kind) -> int:
        """Return the number of requests with this kind of change."""
        return sum(changes.count for group, changes in self.groups.items() if group.kind is kind)

    def sorted_groups(self) -> list[tuple[Group, Changes]]:
        """Return the changes, newly allowed first, by route, the most frequent first."""
        order = list(Kind)
        return sorted(
            self.groups.items(),
            key=lambda entry: (order.index(entry[0].kind), entry[0].route, -entry[1].count),
        )

    def _one(self, logged: Logged) -> None:
        self.requests += 1
        self.allowed += logged.allowed
        request = logged.request
        failed = logged.reason if logged.token_failed else None
        caller = logged.principal
        key = (request.method, request.host, request.target, caller, failed, logged.lacks)
        if key in self._known:
            new = self._known[key]
        else:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()  # frequent requests are soon cached again
            new = self._known[key] = rejudge(logged, self._snapshot, self._now)
        if new is None:
            self.unknown += 1
            return
        # A gateway's policy allowed it; which instances there are, no log has.
        was_allowed = logged.allowed or logged.reason is Reason.NO_UPSTREAM
        if new.allowed == was_allowed and (new.allowed or new.reason == logged.reason):
            return
        kind = Kind.OTHER_REASON
        if new.allowed != was_allowed:
            kind = Kind.NEWLY_ALLOWED if new.allowed else Kind.NEWLY_DENIED
        self._note(kind, logged, new)

    def _note(self, kind: Kind, logged: Logged, new: New) -> None:
        route = new.route.name if new.route is not None else (logged.route or "none")[:MAX_NAME]
        group = Group(kind, route, logged.reason, new.reason)
        if group not in self.groups and len(self.groups) >= MAX_GROUPS:
            group = Group(kind, "others", "", "")
        changes = self.groups.setdefault(group, Changes())
        changes.count += 1
        path = logged.request.target.decode("utf-8", "replace")[:MAX_PATH]
        subject = "" if logged.principal is None else logged.principal.subject[:MAX_NAME]
        sample = (logged.request.method[:MAX_NAME], path, subject)
        if sample in changes.samples or len(changes.samples) < MAX_SAMPLES:
            changes.samples[sample] += 1

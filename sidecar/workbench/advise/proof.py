"""Proves by the log that a narrower table denies no request that the log allowed."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sidecar.core.decision import decide
from sidecar.core.request import Request
from sidecar.core.routes.route import Route
from sidecar.core.snapshot import Snapshot
from sidecar.workbench.log_fields import Fields
from sidecar.workbench.logs import UnusableLineError, read_line
from sidecar.workbench.principals import TakenAsVerified
from sidecar.workbench.replay import Kind, Replay


class Proof:
    """Replays a log; what ``replay`` cannot judge is compared by the route that it gets.

    That suffices: a route of the proposal requires what the one does that it comes from.
    """

    def __init__(
        self, old: Snapshot, new: Snapshot, now: float, fields: Fields | None = None
    ) -> None:
        self._old, self._new, self._now, self._fields = old, new, now, fields
        self.replay = Replay(new, now, fields)
        self._lost = 0

    def take(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Replay a log; after each line, yield the number of lines so far."""
        for done, line in enumerate(lines, 1):
            unknown = self.replay.unknown - self.replay.cut
            for _ in self.replay.take((line,)):
                pass
            if self.replay.unknown - self.replay.cut > unknown:
                self._compare(line)
            yield done

    @property
    def denied(self) -> int:
        """The requests that the log allowed and the new table denies."""
        return self._lost + self.replay.count(Kind.NEWLY_DENIED)

    def _compare(self, line: bytes) -> None:
        try:
            logged = read_line(line, self._fields)
        except UnusableLineError:
            return
        if logged.allowed:
            old, new = (self._route(logged.request, each) for each in (self._old, self._new))
            self._lost += old != new

    def _route(self, request: Request, snapshot: Snapshot) -> Route | None:
        """Return what the route of a request requires: a route without its name and path."""
        route = decide(request, snapshot, TakenAsVerified(), self._now).route
        return None if route is None else replace(route, index=0, name="", path="")

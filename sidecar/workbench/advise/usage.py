"""Counts what a decision log shows of routes, permissions and roles, in bounded memory."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from sidecar.core.paths.canonical import PathError, canonicalise
from sidecar.core.request import Request
from sidecar.core.routes.route import Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.principal import held_by
from sidecar.workbench.advise.needed import Held, needed
from sidecar.workbench.advise.places import Places, places_of
from sidecar.workbench.log_fields import Fields
from sidecar.workbench.logs import CallerField, CutPathError, Logged, UnusableLineError, read_line

MAX_ROUTED: Final = 100_000
"""Requests whose route is remembered: some 40 MiB. Frequent requests soon return after a reset."""

MAX_HELD: Final = 20_000
"""Different lists of roles and permissions; users share a few, and 20,000 take up to 80 MiB."""

MAX_GROUPS: Final = 10_000
"""Names of routes in a log, and what was missing of one: a hostile log has any number."""

MAX_DAYS: Final = 4_000
SECONDS_A_DAY: Final = 86_400


@dataclass(slots=True)
class RouteUse:
    """What a log has of one route of the table.

    ``places`` are the different paths that the wildcards of the route stood for, None where there
    are too many, or where the log has some of them cut. ``with_credential`` counts the allowed
    requests that carried a credential, of the ``known_credential`` ones of which the log says it.
    """

    requests: int = 0
    allowed: int = 0
    known_credential: int = 0
    with_credential: int = 0
    places: Places | None = None


@dataclass(slots=True)
class Denials:
    """The decisions under one name of a route in the log, and what was missing."""

    requests: int = 0
    denied: int = 0
    missing: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)


class Covered(NamedTuple):
    """The time that a log covers: its first and last moment, epoch seconds, and days with lines."""

    first: float
    last: float
    days: int

    @property
    def length(self) -> float:
        """Days from the first to the last decision."""
        return (self.last - self.first) / SECONDS_A_DAY

    def suffices(self, days: float) -> bool:
        """Say whether the log covers so many days, with decisions on at least half of them.

        The second, since one line with a wrong clock would make a log of an hour a long one.
        """
        return self.length >= days and self.days * 2 >= days


class Usage:
    """Counts over logs; without a ``snapshot`` only what needs no route table."""

    def __init__(self, snapshot: Snapshot | None, now: float, fields: Fields | None = None) -> None:
        self._snapshot = snapshot
        self._now = now
        self._fields = fields
        self._routed: dict[tuple[str, str, bytes], Route | None] = {}
        self._days: set[int] = set()
        self._first, self._last = float("inf"), float("-inf")
        routes = () if snapshot is None else snapshot.policy.routes
        self._names = {route.name: route for route in routes}
        self.routes = [RouteUse(places=places_of(route)) for route in routes]
        self.denials: dict[str, Denials] = {}
        self.held: Counter[Held] = Counter()
        self.needed_roles: set[str] = set()
        self.needed_permissions: set[str] = set()
        self.too_many_held = False
        self._judged: set[tuple[Held, int]] = set()
        self.requests = 0
        self.allowed = 0
        self.unusable: Counter[str] = Counter()

    def take(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Count over a log; after each line, yield the number of lines so far."""
        for done, line in enumerate(lines, 1):
            try:
                self._one(read_line(line, self._fields))
            except CutPathError as error:
                self._cut(error)
            except UnusableLineError as error:
                if line.strip():
                    self.unusable[str(error)] += 1
            yield done

    def covered(self) -> Covered | None:
        """Return the time that the log covers, None where its lines have no time."""
        if not self._days:
            return None
        return Covered(self._first, self._last, len(self._days))

    def _one(self, logged: Logged) -> None:
        self.requests += 1
        self.allowed += logged.allowed
        self._note_time(logged.entry.get("time"))
        self._note_denial(logged)
        held = self._note_held(logged)
        snapshot = self._snapshot
        if snapshot is None:
            return
        route = self._route(logged.request, snapshot)
        if route is None:
            return
        use = self.routes[route.index]
        use.requests += 1
        if not logged.allowed:
            return
        use.allowed += 1
        credential = logged.entry.get("credential")
        if isinstance(credential, bool):
            use.known_credential += 1
            use.with_credential += credential
        segments = _segments(logged.request, snapshot)
        if use.places is not None and not use.places.add(segments or ()):
            use.places = None
        if held is not None:
            self._note_needed(held, route)

    def _cut(self, error: CutPathError) -> None:
        """Count a decision whose path the log does not have whole; its route is the logged one."""
        self.requests += 1
        self.allowed += error.allowed
        self.unusable[str(error)] += 1
        route = self._names.get(error.route)
        if route is not None:
            use = self.routes[route.index]
            use.requests += 1
            use.allowed += error.allowed
            use.places = None

    def _note_time(self, written: object) -> None:
        try:
            at = datetime.fromisoformat(written).timestamp() if isinstance(written, str) else None
        except (ValueError, OverflowError):
            return
        if at is None or not 0 <= at <= self._now + SECONDS_A_DAY:
            return  # a clock that is wrong
        self._first, self._last = min(self._first, at), max(self._last, at)
        if len(self._days) < MAX_DAYS:
            self._days.add(int(at // SECONDS_A_DAY))

    def _note_denial(self, logged: Logged) -> None:
        if logged.route is None:
            return
        if logged.route not in self.denials and len(self.denials) >= MAX_GROUPS:
            return
        denials = self.denials.setdefault(logged.route, Denials())
        denials.requests += 1
        if logged.allowed:
            return
        denials.denied += 1
        missing = (logged.reason.value, logged.needs)
        if missing in denials.missing or len(denials.missing) < MAX_GROUPS // 100:
            denials.missing[missing] += 1

    def _note_held(self, logged: Logged) -> Held | None:
        """Count a caller's roles and permissions; return them, None where the log lacks them."""
        principal = logged.principal
        if principal is None or CallerField.HELD in logged.lacks:
            return None
        held = Held(principal.roles, held_by(principal))
        if held not in self.held and len(self.held) >= MAX_HELD:
            self.too_many_held = True
            return None
        self.held[held] += 1
        return held

    def _note_needed(self, held: Held, route: Route) -> None:
        if (held, route.index) in self._judged:
            return
        if len(self._judged) >= MAX_ROUTED:
            self._judged.clear()
        self._judged.add((held, route.index))
        roles, permissions = needed(held, route)
        self.needed_roles |= roles
        self.needed_permissions |= permissions

    def _route(self, request: Request, snapshot: Snapshot) -> Route | None:
        """Return the route that the table has for a request, None where it has none.

        A decision cannot say it: a denial may name the stricter route of another reading.
        """
        key = (request.method, request.host, request.target)
        try:
            return self._routed[key]
        except KeyError:
            pass
        if len(self._routed) >= MAX_ROUTED:
            self._routed.clear()
        segments = _segments(request, snapshot)
        found = None
        if segments is not None:
            found = snapshot.policy.match(request.host, request.method, segments)
        route = found if isinstance(found, Route) else None
        self._routed[key] = route
        return route


def _segments(request: Request, snapshot: Snapshot) -> tuple[str, ...] | None:
    """Return the canonical segments of a path, None where the policy does not allow it."""
    try:
        path = canonicalise(request.target, raw_headers=True, allow=snapshot.policy.accepted)
    except PathError:
        return None
    return path.readings[0]

"""What a gateway counts: instances, picks, and the users of each instance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.decision import Allow, DecisionRecord
from sidecar.core.placement.directory import Directory, Instance
from sidecar.core.reasons import Reason

# Targets come from the policy and instances from the registry; further ones are counted as OTHER.
MAX_SERIES: Final = 1000
OTHER: Final = "(other)"

# Different users in a minute, some 60 bytes each; further ones are not counted.
MAX_USERS: Final = 100_000
MINUTE: Final = 60.0


@dataclass(slots=True)
class GatewayValues:
    """All values at one instant; ``directory_age`` in seconds, None before the first listing."""

    instances: dict[tuple[str, str], int] = field(default_factory=dict)
    picks: dict[tuple[str, str], int] = field(default_factory=dict)
    users: dict[tuple[str, str], int] = field(default_factory=dict)
    directory_age: float | None = None
    refused: int = 0
    files: dict[tuple[str], int] = field(default_factory=lambda: {("written",): 0, ("failed",): 0})


class GatewayMetrics:
    """Counts events. Call its methods on the event loop; none of them waits.

    A user counts for the instance that the answer names first, once in a minute of the clock. What
    is shown is the last whole minute. Only hashes of the subjects are kept.
    """

    def __init__(self) -> None:
        self._values = GatewayValues()
        self._listed_at: float | None = None
        self._ends = MINUTE  # of the minute that is counted, by the wall clock
        self._met: set[int] = set()  # a hash of each user in this minute with the instance
        self._users: dict[tuple[str, str], int] = {}  # how many, by target and instance
        self._last: dict[tuple[str, str], int] = {}  # users in the minute before

    def directory(self, targets: Iterable[str], directory: Directory) -> None:
        """Set the instances of each target by their health."""
        counts: dict[tuple[str, str], int] = {}
        for target in targets:
            for each in directory.of_target(target):
                key = _bounded(counts, (target, _state(each)))
                counts[key] = counts.get(key, 0) + 1
        self._values.instances = counts

    def listed(self, at: float, refused: int) -> None:
        """Note an answer of the registry at this steady time, and its entries that are not used."""
        self._listed_at = at
        self._values.refused += refused

    def files(self, written: int, failed: int = 0) -> None:
        """Count files that were written, and attempts that failed."""
        self._values.files[("written",)] += written
        self._values.files[("failed",)] += failed

    def records(self, records: Sequence[DecisionRecord]) -> None:
        """Count where requests were sent, and whose they were."""
        # This runs for each request, nearly always of a user who was counted in this minute.
        picks = self._values.picks
        for record in records:
            decision = record.decision
            if isinstance(decision, Allow):
                target, servers = decision.route.target, decision.servers
                verified = decision.verified
                if servers and verified is not None:
                    if record.time >= self._ends:
                        self._turn(record.time)
                    user = hash((verified.principal.subject, servers[0], target))
                    if user not in self._met:
                        self._meet(user, (target, servers[0]))
                pick = (target, "placed" if servers else "any")
            elif decision.reason is Reason.NO_UPSTREAM:
                pick = (decision.route.target if decision.route is not None else "", "none")
            else:
                continue
            if pick in picks:
                picks[pick] += 1
            else:
                pick = _bounded(picks, pick)
                picks[pick] = picks.get(pick, 0) + 1

    def values(self, steady: float, wall: float) -> GatewayValues:
        """Copy all values at this moment, by both clocks, for rendering in a thread."""
        self._turn(wall)
        now = self._values
        age = None if self._listed_at is None else steady - self._listed_at
        return GatewayValues(
            now.instances.copy(),
            now.picks.copy(),
            self._last.copy(),
            age,
            now.refused,
            now.files.copy(),
        )

    def _meet(self, user: int, instance: tuple[str, str]) -> None:
        """Count another user of an instance."""
        if len(self._met) < MAX_USERS:
            self._met.add(user)
            instance = _bounded(self._users, instance)
            self._users[instance] = self._users.get(instance, 0) + 1

    def _turn(self, wall: float) -> None:
        """Begin another minute where the clock says so."""
        if wall < self._ends:
            return
        whole = wall < self._ends + MINUTE
        self._last = self._users if whole else {}
        self._users, self._met = {}, set()
        self._ends = (wall // MINUTE + 1) * MINUTE


def _bounded(known: Mapping[tuple[str, str], object], key: tuple[str, str]) -> tuple[str, str]:
    """Return the key, or one that takes the place of all that are too many."""
    return key if key in known or len(known) < MAX_SERIES else (OTHER, OTHER)


def _state(instance: Instance) -> str:
    if instance.vanished:
        return "vanished"
    if instance.draining:
        return "draining"
    return instance.health.value if instance.ready else "not_ready"

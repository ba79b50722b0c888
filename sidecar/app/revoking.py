"""The feed of revocations: wires it to the decision, health and metrics."""

from typing import TYPE_CHECKING

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.core.tokens.revocations import Revocations
from sidecar.ops.metrics import Metrics, RevocationValues
from sidecar.ops.readiness import REVOCATION, Health, State

if TYPE_CHECKING:
    from sidecar.zervi.revocation.follower import Follower


class Revoking:
    """Follows a feed where one is configured."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics
        self._follower: Follower | None = None
        self._readings = {"success": 0, "failure": 0}

    @property
    def revocations(self) -> Revocations | None:
        """What the decision depends on; None without a feed."""
        return None if self._follower is None else self._follower.revocations

    async def start(self, config: Config) -> Revocations | None:
        """Follow the configured feed; before the first Check, for the snapshot file has its key."""
        settings = wiring.revocation(config)
        if settings is None:
            return None
        from sidecar.zervi.revocation.follower import Follower  # where it is configured

        follower = Follower(settings, self._read)
        await follower.load()
        self._follower = follower
        self._metrics.revocation = self._values
        self.show()
        follower.start()
        return follower.revocations

    async def change(self, config: Config) -> None:
        """Follow what a reload configures; a first feed gets a moment to be read."""
        settings = wiring.revocation(config)
        follower = self._follower
        if settings is None or follower is None:
            await self.close()
            await self.start(config)
            if self._follower is not None:
                await self._follower.first()
        elif settings != follower.settings:
            await follower.change(settings)

    async def close(self) -> None:
        """Stop."""
        follower, self._follower = self._follower, None
        self._metrics.revocation = None
        if follower is not None:
            await follower.close()

    def show(self) -> None:
        """Set the feed's health."""
        if self._follower is None or REVOCATION not in self._health.components:
            return
        condition = self._follower.condition()
        if condition.age is None:
            state, detail = State.WAITING, condition.problem
        elif not condition.problem:
            state, detail = State.READY, f"{condition.entries} entries"
        else:
            denies = condition.stale and self._follower.settings.deny_stale
            state = State.FAILED if denies else State.DEGRADED
            stale = ", older than max_stale" if condition.stale else ""
            detail = f"{condition.age:.0f} s old{stale}: {condition.problem}"
        self._health.set(REVOCATION, state, detail)

    def _read(self, result: str) -> None:
        self._readings[result] += 1
        self.show()

    def _values(self) -> RevocationValues | None:
        if self._follower is None:
            return None
        condition = self._follower.condition()
        return RevocationValues(
            condition.entries, condition.memory, condition.age, self._readings.copy()
        )

"""The choice of instances: a gateway where the configuration has one."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sidecar.config import Config
from sidecar.core.decision import DecisionRecord
from sidecar.core.routes.table import Policy
from sidecar.ops.metrics import Metrics
from sidecar.ops.readiness import Health

if TYPE_CHECKING:
    from sidecar.app.gateway import Gateway
    from sidecar.core.placement.place import Placements


class Placing:
    """Runs a gateway where that is configured; ``place`` gets its placements, None for none."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        place: "Callable[[Placements | None], None]",
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._policy = policy
        self._place = place
        self._health = health
        self._metrics = metrics
        self._gateway: Gateway | None = None

    async def follow(self, config: Config) -> None:
        """Choose instances as the configuration says from now on."""
        former = self._gateway
        if former is not None:
            if former.follows(config):
                return
            await self.close()
        section = config.settings.gateway
        if section is None:
            self._place(None)
            self._metrics.gateway = None
            return
        from sidecar.app import gateway  # where it is configured

        self._gateway = gateway.Gateway(config, section, self._policy, self._place, self._health)
        self._metrics.gateway = self._gateway.values
        await self._gateway.start(former)

    def records(self, records: Sequence[DecisionRecord]) -> None:
        """Count where requests were sent, in a gateway."""
        if self._gateway is not None:
            self._gateway.records(records)

    def policy_changed(self) -> None:
        """Take over the targets of another policy."""
        if self._gateway is not None:
            self._gateway.policy_changed()

    async def close(self) -> None:
        """Stop."""
        if self._gateway is not None:
            await self._gateway.close()
            self._gateway = None

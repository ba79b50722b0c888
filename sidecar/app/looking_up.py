"""What Zervi is asked while requests wait: wires look-ups to health and metrics."""

from typing import TYPE_CHECKING

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.extauthz.asking import NO_LOOK_UPS
from sidecar.extauthz.asking import LookUps as Source
from sidecar.ops.metrics import Metrics
from sidecar.ops.readiness import Health, State

if TYPE_CHECKING:
    from sidecar.zervi.look_ups import LookUps


class LookingUp:
    """The configured look-ups, if there are any; they follow the configuration."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics
        self._lookups: LookUps | None = None

    @property
    def source(self) -> Source:
        """Who answers questions."""
        return NO_LOOK_UPS if self._lookups is None else self._lookups

    def follow(self, config: Config) -> None:
        """Ask as this configuration says; call it after the health has the components."""
        permissions, verdicts = wiring.permissions_source(config), wiring.verdict_sources(config)
        if self._lookups is None:
            if permissions is None and not any(verdicts):
                return
            from sidecar.zervi.look_ups import LookUps  # where it is configured

            self._lookups = LookUps(on_look_up=self._on_look_up)
            self._metrics.look_up_sizes = self._lookups.sizes
        self._lookups.take(permissions, verdicts)

    async def close(self) -> None:
        """Cancel every look-up."""
        if self._lookups is not None:
            await self._lookups.close()

    def _on_look_up(self, name: str, result: str, detail: str) -> None:
        self._metrics.look_up(name, result)
        if self._lookups is None or name not in self._health.components:
            return
        if self._lookups.failing().get(name):
            if detail:
                self._health.set(name, State.DEGRADED, detail)
        elif result != "overloaded":
            self._health.set(name, State.READY)

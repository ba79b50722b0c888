"""The probes of the upstream: wires their result to health, metrics and the registry."""

from collections.abc import Callable
from random import SystemRandom

from sidecar.ops.metrics import Metrics
from sidecar.ops.readiness import Health, State
from sidecar.upstream.probe import Prober, ProbeSettings
from sidecar.upstream.state import UpstreamState

_STATES = {
    UpstreamState.UNKNOWN: State.WAITING,
    UpstreamState.HEALTHY: State.READY,
    UpstreamState.WARNING: State.DEGRADED,
    UpstreamState.CRITICAL: State.FAILED,
}


class Probing:
    """Probes the upstream; ``report`` tells the registry each change of its state."""

    def __init__(
        self,
        settings: ProbeSettings,
        health: Health,
        metrics: Metrics,
        report: Callable[[str], None],
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._report = report
        self._prober = Prober(settings, self._changed, SystemRandom())
        self._changed(UpstreamState.UNKNOWN)

    def start(self) -> None:
        """Start probing."""
        self._prober.start()

    async def close(self) -> None:
        """Stop."""
        await self._prober.close()

    def _changed(self, state: UpstreamState) -> None:
        self._metrics.upstream_state(state.value)
        self._health.set("upstream", _STATES[state], state.value)
        self._report(state.value)

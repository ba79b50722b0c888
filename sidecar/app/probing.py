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
    """Probes the upstream where that is configured; ``report`` tells the registry its state."""

    def __init__(self, health: Health, metrics: Metrics, report: Callable[[str], None]) -> None:
        self._health = health
        self._metrics = metrics
        self._report = report
        self._settings: ProbeSettings | None = None
        self._prober: Prober | None = None

    async def follow(self, settings: ProbeSettings | None) -> None:
        """Probe by these settings from now on; None: do not probe."""
        if settings == self._settings:
            return
        self._settings = settings
        if settings is None:
            await self.close()
            self._prober = None
            self._metrics.upstream_state(None)
            self._report(UpstreamState.UNKNOWN.value)
        elif self._prober is None:
            self._metrics.upstream_state(UpstreamState.UNKNOWN.value)
            self._prober = Prober(settings, self._changed, SystemRandom())
            self._prober.start()
        else:
            self._prober.change(settings)

    async def close(self) -> None:
        """Stop."""
        if self._prober is not None:
            await self._prober.close()

    def _changed(self, state: UpstreamState) -> None:
        self._metrics.upstream_state(state.value)
        self._health.set("upstream", _STATES[state], state.value)
        self._report(state.value)

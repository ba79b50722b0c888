"""The services in ``gateway.services``: probes each address, and knows its health."""

from collections.abc import Callable, Mapping
from functools import partial
from random import SystemRandom

from sidecar.app import gateway_wiring
from sidecar.config.gateway import GatewaySection
from sidecar.core.placement.directory import Health, Instance
from sidecar.upstream.probe import Prober
from sidecar.upstream.state import UpstreamState


class FixedServices:
    """Probes from ``start`` to ``close``; ``changed`` is called where an address's health changes.

    Two services may have the same URL: it is probed once, by the path of the last of them.
    """

    def __init__(self, section: GatewaySection, changed: Callable[[], None]) -> None:
        self._fixed = gateway_wiring.fixed(section)
        self._changed = changed
        self._health: dict[str, Health] = {}
        self._probers = [
            Prober(settings, partial(self._set, url), SystemRandom())
            for url, settings in gateway_wiring.probes(section).items()
        ]

    def start(self) -> None:
        """Start probing."""
        for prober in self._probers:
            prober.start()

    async def close(self) -> None:
        """Stop."""
        for prober in self._probers:
            await prober.close()

    def instances(self) -> Mapping[str, tuple[Instance, ...]]:
        """Return each service's addresses with their health at this moment."""
        return {
            name: tuple(
                each._replace(health=self._health.get(each.id, Health.UNKNOWN)) for each in found
            )
            for name, found in self._fixed.items()
        }

    def _set(self, url: str, state: UpstreamState) -> None:
        self._health[url] = Health(state.value)
        self._changed()

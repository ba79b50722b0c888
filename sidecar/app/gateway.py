"""The gateway: keeps Envoy's files and the placements in step with directory and policy."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.app import gateway_wiring
from sidecar.app.gateway_directory import RegistryDirectory
from sidecar.app.gateway_services import FixedServices
from sidecar.config import Config
from sidecar.config.gateway import GatewaySection
from sidecar.core.placement.directory import Directory
from sidecar.core.placement.place import Placements
from sidecar.core.routes.table import Policy
from sidecar.gateway.files import ROUTES, FileSettings, addresses, contents
from sidecar.gateway.writer import FileWriter
from sidecar.net.clock import steady
from sidecar.net.logs import once_a_minute
from sidecar.ops.gateway_metrics import GatewayMetrics, GatewayValues
from sidecar.ops.readiness import DIRECTORY, Health, State

# Envoy takes a file over within a second of its rename. Until then it does not know an address, and
# would let its fallback choose another instance.
SETTLE_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Gateway:
    """Reads the directory, writes Envoy's files, and hands placements to ``place``."""

    def __init__(
        self,
        config: Config,
        section: GatewaySection,
        policy: Callable[[], Policy],
        place: Callable[[Placements], None],
        health: Health,
    ) -> None:
        self._section = section
        self._looma = config.settings.looma
        self._policy = policy
        self._place = place
        self._health = health
        self._settings: FileSettings = gateway_wiring.files(config, section)
        self._writer = FileWriter(Path(section.envoy_dir))
        self._has_files = (Path(section.envoy_dir) / ROUTES).exists()
        self._written = addresses(Path(section.envoy_dir))  # those that Envoy knows
        self._unwritten = ""  # why Envoy's files could not be written
        self._placed = False  # whether what was listed first is in force, or cannot be
        self._changed = asyncio.Event()
        self._services = FixedServices(section, self._changed.set)
        self._metrics = GatewayMetrics()
        self.records = self._metrics.records
        self._registry = RegistryDirectory(config, section, self._targets, self._heard)
        self._task: asyncio.Task[None] | None = None
        self._changed.set()

    async def start(self, former: "Gateway | None" = None) -> None:
        """Keep files and placements current, until ``close``.

        The placements of what is known are in force when this returns: of the ``former`` gateway,
        of ``gateway.snapshot_file``, or of a registry that answers soon.
        """
        if former is None:
            await self._registry.start(None)
        else:
            self._metrics = former._metrics  # noqa: SLF001 -- the same class
            self.records = self._metrics.records
            await self._registry.start(former._registry)  # noqa: SLF001 -- as above
        if self._registry.listed_at is not None:
            self._metrics.listed(self._registry.listed_at, 0)
        directory = self._directory()
        await self._prepare(self._known_to_envoy(directory))
        current = not self._registry.waiting and _addresses(directory) <= self._written
        self._placed = former is not None or current
        self._show()
        self._task = asyncio.create_task(self._keep_current(), name="gateway")
        self._services.start()

    async def close(self) -> None:
        """Stop; Envoy's files stay."""
        await self._services.close()
        await self._registry.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def follows(self, config: Config) -> bool:
        """Say whether this gateway fits a configuration, apart from its policy."""
        settings = config.settings
        if settings.gateway != self._section or settings.looma != self._looma:
            return False
        return gateway_wiring.files(config, self._section) == self._settings

    async def _keep_current(self) -> None:
        while True:
            await self._wait()
            self._changed.clear()
            try:
                await self._update()
            except Exception as error:  # noqa: BLE001 -- the gateway must go on
                text = "Envoy's files and the placements are not updated: internal error %s"
                _log.error(text, type(error).__name__, extra=once_a_minute("gateway-update"))
                self._changed.set()  # again in a second
                await asyncio.sleep(SETTLE_SECONDS)

    def policy_changed(self) -> None:
        """Take over the targets of another policy."""
        self._changed.set()

    async def _wait(self) -> None:
        """Wait for a change, or for the end of an instance's grace."""
        end = self._registry.next_change
        timeout = None if end is None else max(end - steady(), 0.0)
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    def values(self) -> GatewayValues:
        """Return the metrics at this moment."""
        return self._metrics.values(steady(), time.time())

    async def _update(self) -> None:
        directory = self._directory()
        targets = self._targets()
        self._metrics.directory(targets, directory)
        if self._registry.waiting and self._has_files:
            # Envoy goes on with what an earlier run wrote, until the registry answers.
            await self._prepare(directory)
            return
        found, listed = _addresses(directory), not self._registry.waiting
        await self._prepare(self._known_to_envoy(directory))
        try:
            written = await asyncio.to_thread(
                lambda: self._writer.write(contents(targets, directory, self._settings))
            )
        except OSError as error:
            text = "Envoy's files are not written: %s"
            _log.error(text, error.strerror, extra=once_a_minute("gateway-files"))
            self._metrics.files(0, failed=1)
            self._unwritten = f"Envoy's files are not written: {error.strerror}"
            self._placed = self._placed or listed
            self._show()
            self._changed.set()  # again in a second
            await asyncio.sleep(SETTLE_SECONDS)
            return
        self._metrics.files(written)
        self._unwritten = ""
        self._placed = self._placed or (listed and found <= self._written)
        self._show()
        await asyncio.sleep(SETTLE_SECONDS)
        if not found <= self._written:
            self._written = found
            await self._prepare(directory)
        self._written = found
        self._placed = self._placed or listed
        self._show()

    def _directory(self) -> Directory:
        """Return what is known at this moment."""
        return self._registry.directory()._replace(fixed=self._services.instances())

    def _known_to_envoy(self, directory: Directory) -> Directory:
        known = [each for each in directory.instances if each.address in self._written]
        return directory._replace(instances=tuple(known))

    async def _prepare(self, directory: Directory) -> None:
        """Hand over placements for a directory; a thread builds them."""
        targets, zone = self._targets(), self._section.zone
        self._place(await asyncio.to_thread(Placements, targets, directory, zone))

    def _targets(self) -> list[str]:
        return sorted({route.target for route in self._policy().routes if route.target})

    def _heard(self, refused: int | None, changed: bool) -> None:
        """Note an answer of the registry, or its failure."""
        if refused is not None:
            self._metrics.listed(steady(), refused)
        if changed:
            self._changed.set()
        self._show()

    def _show(self) -> None:
        """Set the directory's health."""
        state, detail = self._registry.state()
        if self._unwritten and not self._registry.failure:
            state = State.WAITING if self._registry.waiting else State.DEGRADED
            detail = self._unwritten
        elif state.usable and not self._placed:
            state, detail = State.WAITING, "Envoy's files are not written yet"
        self._health.set(DIRECTORY, state, detail)


def _addresses(directory: Directory) -> frozenset[str]:
    return frozenset(each.address for each in directory.instances)

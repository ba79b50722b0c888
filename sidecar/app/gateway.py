"""The gateway: keeps Envoy's files and the placements in step with directory and policy."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Final

from sidecar.app import gateway_wiring
from sidecar.app.gateway_services import FixedServices
from sidecar.config import Config
from sidecar.config.gateway import GatewaySection
from sidecar.core.placement.directory import Directory
from sidecar.core.placement.place import Placements
from sidecar.core.routes.table import Policy
from sidecar.gateway.files import ROUTES, FileSettings, contents
from sidecar.gateway.writer import FileWriter
from sidecar.looma.directory.known import Known, Listing
from sidecar.looma.directory.reader import Reader
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
        self._known = Known(section.empty_grace)
        self._changed = asyncio.Event()
        self._services = FixedServices(section, self._changed.set)
        self._metrics = GatewayMetrics()
        self.records = self._metrics.records
        self._listed_at: float | None = None
        self._failure = ""  # why the registry gave no answer
        self._unwritten = ""  # why Envoy's files could not be written
        self._written: frozenset[str] = frozenset()  # addresses that Envoy knows
        self._tasks: list[asyncio.Task[None]] = []
        registry = gateway_wiring.directory(config, self._targets)
        self._reader = None
        if registry is not None:
            self._reader = Reader(registry, self._take, self._fail, SystemRandom())
        self._changed.set()

    def start(self) -> None:
        """Read the directory, and keep files and placements current, until ``close``."""
        if self._reader is None:
            self._show()
        else:
            self._tasks.append(asyncio.create_task(self._reader.run(), name="directory"))
        self._tasks.append(asyncio.create_task(self._keep_current(), name="gateway"))
        self._services.start()

    async def close(self) -> None:
        """Stop; Envoy's files stay."""
        await self._services.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        end = self._known.next_change()
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
        directory = self._known.directory(steady())
        directory = directory._replace(fixed=self._services.instances())
        targets = self._targets()
        self._metrics.directory(targets, directory)
        if self._reader is not None and self._listed_at is None and self._has_files:
            # Envoy goes on with what an earlier run wrote, until the registry answers.
            await self._prepare(directory)
            return
        addresses = frozenset(each.address for each in directory.instances)
        if not addresses <= self._written:
            known = [each for each in directory.instances if each.address in self._written]
            await self._prepare(directory._replace(instances=tuple(known)))
        else:
            await self._prepare(directory)
        try:
            written = await asyncio.to_thread(
                lambda: self._writer.write(contents(targets, directory, self._settings))
            )
        except OSError as error:
            text = "Envoy's files are not written: %s"
            _log.error(text, error.strerror, extra=once_a_minute("gateway-files"))
            self._metrics.files(0, failed=1)
            self._unwritten = f"Envoy's files are not written: {error.strerror}"
            self._show()
            self._changed.set()  # again in a second
            await asyncio.sleep(SETTLE_SECONDS)
            return
        self._metrics.files(written)
        if self._unwritten:
            self._unwritten = ""
            self._show()
        await asyncio.sleep(SETTLE_SECONDS)
        if not addresses <= self._written:
            self._written = addresses
            await self._prepare(directory)
        self._written = addresses

    async def _prepare(self, directory: Directory) -> None:
        """Hand over placements for a directory; a thread builds them."""
        targets, zone = self._targets(), self._section.zone
        self._place(await asyncio.to_thread(Placements, targets, directory, zone))

    def _targets(self) -> list[str]:
        return sorted({route.target for route in self._policy().routes if route.target})

    def _take(self, listing: Listing | None) -> None:
        first = self._listed_at is None
        self._listed_at, self._failure = steady(), ""
        self._metrics.listed(self._listed_at, 0 if listing is None else listing.refused)
        changed = listing is not None and self._known.take(listing, self._listed_at)
        if changed or first:
            self._changed.set()
        self._show()

    def _fail(self, detail: str) -> None:
        self._failure = detail
        self._show()

    def _show(self) -> None:
        """Set the directory's health."""
        if self._reader is not None and self._listed_at is None:
            self._health.set(DIRECTORY, State.WAITING, self._failure or self._unwritten)
        elif self._failure and self._listed_at is not None:
            age = steady() - self._listed_at
            self._health.set(DIRECTORY, State.DEGRADED, f"{age:.0f} s old: {self._failure}")
        elif self._unwritten:
            self._health.set(DIRECTORY, State.DEGRADED, self._unwritten)
        else:
            listed = "gateway.services" if self._reader is None else "listed"
            self._health.set(DIRECTORY, State.READY, listed)

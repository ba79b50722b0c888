"""The environments of one console: the file, and the saga that works on it."""

import time
from collections.abc import AsyncIterator

from aiohttp import web

from sidecar.console.api.environments import Allocations, EnvironmentsApi
from sidecar.console.environments.saga import Saga
from sidecar.console.environments.steps import HttpSteps
from sidecar.console.environments.store import Store
from sidecar.console.remote import Remote
from sidecar.console.settings import EnvironmentsSection, Settings


class Environments:
    """``store`` and ``saga``; the saga runs while the application does."""

    def __init__(self, section: EnvironmentsSection, settings: Settings) -> None:
        """Open the file. Raises StoreError."""
        zervi, looma = settings.zervi, settings.looma
        steps = HttpSteps(
            Remote.of("Zervi", zervi),
            zervi.url,
            Remote.of("the registry", looma),
            looma.url,
            section.service_name,
            section.permissions,
        )
        self._service_name = section.service_name
        self.store = Store(section.database, time.time)
        self.saga = Saga(self.store, steps)

    def api(self, allocations: Allocations) -> EnvironmentsApi:
        """Return the handlers; ``allocations`` is what Looma has assigned."""
        return EnvironmentsApi(self.store, self.saga, self._service_name, allocations)

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """Go on with what a former process left, until the application ends."""
        await self.saga.start()
        yield
        await self.saga.stop()
        self.store.close()

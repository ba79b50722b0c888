"""Polls a registry for as long as a gateway runs; no request waits for it."""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError
from sidecar.looma.token import NoTokenError
from sidecar.net.logs import once_a_minute

JITTER: Final = 0.15

# Seconds between polls while the registry fails; not less than the registry's own interval. Until
# the next poll a registry that works again is not asked, and users go to instances that are gone.
MAX_FAILING: Final = 15.0

# The least share of it that a reader waits: an outage ends the open watches of all gateways in the
# same moment.
LEAST: Final = 1 / 3

_MAX_DOUBLINGS: Final = 16  # beyond any interval

_log = logging.getLogger(__name__)


class Registry(Protocol):
    """Reads a registry."""

    @property
    def interval(self) -> float:
        """Seconds between polls, before jitter."""

    async def poll(self) -> Listing | None:
        """Return what is new, None for nothing. Raises PollError or NoTokenError."""

    async def close(self) -> None:
        """End everything that still runs."""


class Reader:
    """Gives ``take`` each listing, and ``fail`` why there is none."""

    def __init__(
        self,
        registry: Registry,
        take: Callable[[Listing | None], None],
        fail: Callable[[str], None],
        random: Random,
    ) -> None:
        self._registry = registry
        self._take = take
        self._fail = fail
        self._random = random

    async def run(self) -> None:
        """Poll until the task is cancelled."""
        try:
            await self._poll()
        finally:
            await self._registry.close()

    async def _poll(self) -> None:
        failures = 0
        while True:
            try:
                self._take(await self._registry.poll())
                failures = 0
            except (PollError, NoTokenError) as error:
                _log.warning("the directory is not updated: %s", error, extra=once_a_minute("poll"))
                self._fail(str(error))
                failures += 1
            except Exception as error:  # noqa: BLE001 -- the directory must go on
                _log.error("the directory is not updated: internal error %s", type(error).__name__)
                self._fail("internal error")
                failures += 1
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        """Return the seconds until the next poll, after some failures in a row."""
        interval = self._registry.interval
        if not failures:
            return interval * self._random.uniform(1 - JITTER, 1 + JITTER)
        window = min(interval * 2.0 ** min(failures, _MAX_DOUBLINGS), max(interval, MAX_FAILING))
        return window * self._random.uniform(LEAST, 1.0)

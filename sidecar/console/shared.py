"""One query for all viewers: an answer is kept for a while, and only one query runs at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple, TypeVar

from sidecar.console.remote import RemoteError
from sidecar.net.clock import steady
from sidecar.net.logs import fault_place, once_a_minute

T = TypeVar("T")

PATIENCE: Final = 1.0
"""Seconds that a viewer waits for a newer answer where there is an old one to show."""

FIRST_PATIENCE: Final = 4.0
"""Seconds that a viewer waits where there is none, or one from long ago, before which there was no
viewer: one slow server must not stop a whole page."""

LONG_AGO: Final = 60.0  # seconds

_log = logging.getLogger(__name__)


class Known(NamedTuple, Generic[T]):
    """What is known: the last answer, when it came (seconds since the epoch), and what failed.

    ``error`` is why the last query failed, empty if it succeeded. ``generation`` counts answers.
    """

    value: T | None = None
    taken_at: float | None = None
    error: str = ""
    generation: int = 0

    def age(self, now: float) -> float | None:
        """Return the answer's age in seconds, None without an answer."""
        return None if self.taken_at is None else max(now - self.taken_at, 0.0)


class Shared(Generic[T]):
    """The answer of ``query``, asked at most every ``every`` seconds, and only if it is needed."""

    def __init__(
        self,
        what: str,
        query: Callable[[], Awaitable[T]],
        every: float,
        clock: Callable[[], float] = steady,
    ) -> None:
        self.every = every
        self.known: Known[T] = Known()
        self.queries = 0
        self._what = what
        self._query = query
        self._clock = clock
        self._next = 0.0
        self._running: asyncio.Task[None] | None = None

    async def get(self) -> Known[T]:
        """Return what is known, after a query if it is old; a failed one keeps the last answer."""
        if self._clock() >= self._next or self._running is not None:
            if self._running is None:
                self._running = asyncio.create_task(self._refresh(), name=f"query-{self._what}")
            age = self.known.age(self._clock())
            patience = FIRST_PATIENCE if age is None or age > LONG_AGO else PATIENCE
            await asyncio.wait([self._running], timeout=patience)
        return self.known

    async def close(self) -> None:
        """Cancel a running query."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _refresh(self) -> None:
        self.queries += 1
        try:
            value = await self._query()
            generation = self.known.generation + 1
            self.known = Known(value, self._clock(), "", generation)
        except RemoteError as error:
            text = "%s: %s"
            _log.warning(text, self._what, error, extra=once_a_minute(self._what))
            self.known = self.known._replace(error=str(error))
        except Exception as error:  # noqa: BLE001 -- what an answer holds must not stop the console
            _log.error("%s: internal error, %s", self._what, fault_place(error))
            self.known = self.known._replace(error="internal error")
        finally:
            self._next = self._clock() + self.every
            self._running = None

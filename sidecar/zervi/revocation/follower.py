"""Follows a feed: reads it in turns with jitter, keeps its entries, and says how fresh they are."""

import asyncio
import logging
import time
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from sidecar.core.tokens.revocations import (
    Entries,
    EntryError,
    FeedTooLargeError,
    Revocations,
)
from sidecar.net.clock import steady
from sidecar.net.logs import once_a_minute
from sidecar.zervi.interface import FetchError
from sidecar.zervi.revocation.interface import Feed, FeedSettings, FeedSource
from sidecar.zervi.revocation.kept import KeptFile
from sidecar.zervi.revocation.log import FeedLog
from sidecar.zervi.schedule import JITTER, RETRY_FLOOR, Schedule

WHOLE_SECONDS: Final = 3600.0
"""How often all of the feed is read: what a cursor skipped is found, what is gone is dropped."""

NUDGE_SHARE: Final = 0.5
"""Of ``poll``, within which a message that is not an entry leads to a reading: it triples the rate
of a fleet at most, and many messages together lead to one reading."""

CANCEL_SECONDS: Final = 0.5  # after which a task that goes on is cancelled again

FIRST_SECONDS: Final = 3.0  # of a reload, for the first reading of another feed

_NEVER: Final = float("-inf")
_ALWAYS: Final = float("inf")

_log = logging.getLogger("sidecar.zervi")


class Condition(NamedTuple):
    """How the feed is; ``age`` in seconds, None before the first good reading.

    ``problem`` is empty after a good reading. ``stale`` says that it is older than ``max_stale``.
    """

    entries: int
    memory: int
    age: float | None
    problem: str
    stale: bool


class Follower:
    """Follows one feed after the other; ``revocations`` is what the decision sees of it.

    ``on_reading(result)`` is called after each reading, ``result`` is success or failure.
    ``clock`` never jumps; ``wall`` is the wall clock; both in seconds since the epoch.
    """

    def __init__(
        self,
        settings: FeedSettings,
        on_reading: Callable[[str], None],
        *,
        clock: Callable[[], float] = steady,
        wall: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self.settings = settings
        self.revocations = Revocations(Entries(), settings.issuers, settings.retain)
        self._on_reading = on_reading
        self._clock = clock
        self._wall = wall
        self._random = random or Random()  # noqa: S311 -- jitter, no secret
        self._kept: KeptFile | None = None
        self._as_of = _NEVER  # when the latest good reading began, by ``clock``
        self._problem = "not read yet"
        self._task: asyncio.Task[None] | None = None
        self._news = 0
        self._wrong = 0
        self._why_wrong = ""
        self._begin_with(settings, None)

    async def load(self) -> None:
        """Take the entries of the snapshot file; call it before any token is verified."""
        if self._kept is None:
            return
        found = await self._kept.load()
        if found is None:
            return
        self.revocations.entries = found.entries
        self._feed.cursor = found.cursor
        age = self._wall() - found.as_of
        if 0 <= age < self.settings.max_stale:
            self._good(self._clock() - age)
            self._problem = ""
            self._whole_at = self._clock() + self._random.uniform(0, WHOLE_SECONDS)
        self._log.restored(len(found.entries), age, usable=self._as_of != _NEVER)

    def start(self) -> None:
        """Read now, and then again and again."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def first(self) -> None:
        """Wait for the first reading to end, at most FIRST_SECONDS."""
        await asyncio.wait([asyncio.ensure_future(self._read_once.wait())], timeout=FIRST_SECONDS)

    async def change(self, settings: FeedSettings) -> None:
        """Follow by other settings from now on.

        The entries stay, for they only close; so does the time of the latest good reading, from
        which on another feed has ``max_stale`` to be read for the first time.
        """
        before = self.settings
        await self._stop()
        self.settings = settings
        entries = self.revocations.entries
        self.revocations = Revocations(entries, settings.issuers, settings.retain)
        cursor = self._feed.cursor if settings.source == before.source else None
        self._begin_with(settings, cursor)
        if self._as_of != _NEVER:
            self._good(self._as_of)
        self.start()

    async def close(self) -> None:
        """Stop reading, and write the snapshot file for the last time."""
        await self._stop()
        if self._kept is not None:
            await self._kept.close()

    def condition(self) -> Condition:
        """Return how the feed is now."""
        entries = self.revocations.entries
        age = None if self._as_of == _NEVER else max(self._clock() - self._as_of, 0.0)
        stale = age is not None and age >= self.settings.max_stale
        return Condition(len(entries), entries.memory, age, self._problem, stale)

    # What ``Sink`` asks for.

    def add(self, entry: object) -> None:
        """Take an entry; a wrong one is remembered until ``check``."""
        try:
            if self.revocations.entries.add(entry, self._wall()):
                self._news += 1
        except EntryError as error:
            self._wrong += 1
            self._why_wrong = str(error)
        except FeedTooLargeError as error:
            raise FetchError(
                str(error), "let Zervi drop entries that are older than retain"
            ) from None

    def check(self) -> None:
        """Raise FetchError where an entry was wrong since the last call."""
        wrong, self._wrong = self._wrong, 0
        if wrong:
            counted = "1 entry is" if wrong == 1 else f"{wrong} entries are"
            cause = f"{counted} wrong, such as: {self._why_wrong}"
            raise FetchError(cause, "the others count; correct the feed")

    def _begin_with(self, settings: FeedSettings, cursor: str | None) -> None:
        self._feed = _feed(settings.source, cursor)
        self._log = FeedLog(self._feed.where)
        self._schedule = Schedule(settings.poll, self._random)
        self._whole_at = _NEVER if cursor is None else self._clock() + WHOLE_SECONDS
        self._read_once = asyncio.Event()
        self._nudged = asyncio.Event()
        path = settings.snapshot_file
        if path is None:
            self._kept = None
        elif self._kept is None or self._kept.path != path or self._kept.source != settings.source:
            self._kept = KeptFile(path, settings.source, settings.max_stale / 4)

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await _end(task)
        await self._feed.close()

    async def _run(self) -> None:
        messages = asyncio.create_task(self._feed.follow(self._told))
        try:
            while True:
                delay = await self._reading()
                self._read_once.set()
                try:
                    async with asyncio.timeout(delay):
                        await self._nudged.wait()
                    await asyncio.sleep(self._random.uniform(0, NUDGE_SHARE * self.settings.poll))
                except TimeoutError:
                    pass
                self._nudged.clear()
        finally:
            await _end(messages)

    async def _reading(self) -> float:
        """Read once; return the seconds to the next reading."""
        began = self._clock()
        whole = began >= self._whole_at
        try:
            await self._feed.read(self, whole=whole)
        except FetchError as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001 -- the next reading must come
            cause = f"internal error {type(error).__name__}"
            return self._failed(FetchError(cause, "please report this as a bug"))
        self._problem = ""
        self._good(began)
        self._log.good(len(self.revocations.entries), self._clock())
        if whole:
            self._whole_at = began + WHOLE_SECONDS * self._random.uniform(1 - JITTER, 1 + JITTER)
            await self._forget(self._wall() - self.settings.retain)
        self._on_reading("success")
        self._keep()
        return self._schedule.after_success(None)

    def _failed(self, error: FetchError) -> float:
        self._wrong = 0
        self._problem = error.cause
        condition = self.condition()
        self._log.bad(error, condition.age, self.settings, self._clock())
        self._on_reading("failure")
        if self._news:
            self._keep()
        urgent = condition.age is None or (condition.stale and self.settings.deny_stale)
        delay = self._schedule.after_failure(urgent=urgent)
        if condition.age is None or condition.stale:
            return delay
        # The last attempt is when the feed becomes stale, so that health changes then.
        return min(delay, max(self.settings.max_stale - condition.age, RETRY_FLOOR))

    def _good(self, as_of: float) -> None:
        self._as_of = as_of
        limit = as_of + self.settings.max_stale if self.settings.deny_stale else _ALWAYS
        self.revocations.trusted_until = limit

    async def _forget(self, before: float) -> None:
        entries = self.revocations.entries
        for shard in range(len(entries.shards)):
            entries.forget(shard, before)
            await asyncio.sleep(0)

    def _keep(self) -> None:
        if self._kept is not None:
            as_of = 0.0  # entries without a good reading do not make the next start ready
            if self._as_of != _NEVER:
                as_of = self._as_of - self._clock() + self._wall()
            self._kept.keep(
                self.revocations.entries, self._feed.cursor, as_of, changed=self._news > 0
            )
        self._news = 0

    def _told(self, message: bytes) -> None:
        """Take an entry that was published, or read the feed where it is none."""
        from sidecar.zervi.revocation.redis import entry_of  # only Redis tells

        entry = entry_of(message)
        try:
            if entry is not None and self.revocations.entries.add(entry, self._wall()):
                self._news += 1
        except (EntryError, FeedTooLargeError) as error:
            text = "revocations: a message from %s is not used: %s"
            _log.warning(text, self._feed.where, error, extra=once_a_minute("revocation message"))
            entry = None
        if entry is None:
            self._nudged.set()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: a library inside may take a cancellation for a timeout."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)


def _feed(source: FeedSource, cursor: str | None) -> Feed:
    if source.in_redis:
        from sidecar.zervi.revocation.redis import RedisFeed  # where it is configured

        return RedisFeed(source)
    from sidecar.zervi.revocation.http import HttpFeed

    return HttpFeed(source, cursor)

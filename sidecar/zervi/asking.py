"""Look-ups at one source: one at a time for a question, bounded, repeated before they are needed.

A look-up is a task of its own, so that the end of a request that waits for it does not end it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from random import Random
from time import monotonic
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from sidecar.core.tokens.lookups import Answer, Ended
from sidecar.core.validity import LOOK_AGAIN
from sidecar.net.clock import steady
from sidecar.net.logs import fault_place, once_a_minute
from sidecar.zervi.answers import AnswerCache, Entry
from sidecar.zervi.interface import FetchError
from sidecar.zervi.schedule import Ration

Key = TypeVar("Key", str, bytes)
KeyIn = TypeVar("KeyIn", str, bytes, contravariant=True)

MAX_BYTES: Final = 16 * 1024 * 1024
"""Of a source's answers: some 10,000 users with 20 permissions each."""

MAX_NEGATIVE_BYTES: Final = 2 * 1024 * 1024
"""Of answers that grant nothing and of failures: invented tokens must not displace good answers."""

MAX_IN_FLIGHT: Final = 32
PER_SECOND: Final = 50
"""Look-ups of one source at a time, and in a second. The latter is less than three times what 1,000
active users need at a ttl of a minute, so that a fleet whose answers all expired asks at most three
times as much as usual."""

RENEWALS_PER_SECOND, RENEWALS_AT_ONCE = 40, 10
"""Of them, look-ups while the former answer still counts: they can wait, and after an outage each
node of a fleet has all its answers to renew."""

AHEAD_LEAVES: Final = RENEWALS_AT_ONCE / 2
"""Of the renewals, what those of fresh answers leave to older ones, which are more urgent."""

FOR_THE_KNOWN: Final = 0.25
"""The share of both that only questions with a former answer may use: a flood of invented tokens
does not stop the look-ups for tokens in use."""

NEGATIVE_SECONDS: Final = 5.0
"""An answer that grants nothing counts for so long: a new user or role soon works."""

TIMEOUT: Final = 3.0
"""Seconds for one look-up, from name resolution to last byte; requests wait for less."""

REFRESH_FROM, REFRESH_TO = 0.7, 0.9
"""The part of ``ttl`` after which a use of an answer begins the next look-up; it is random, so that
answers of the same moment are not all asked for at one moment again."""

USED_SECONDS: Final = LOOK_AGAIN
"""A use is noted at most so often: remembered allows read their answers no more often either."""

# After a failure the same question, and after several in a row any question, waits for a random
# time up to a ceiling that doubles: the sidecars of a fleet must not all ask at the same moment.
# Any question waits only where the source does not answer, or fails for what it answered before:
# invented tokens that it refuses to read must not stop the look-ups for others.
RETRY_FLOOR, RETRY_FIRST, RETRY_CAP = 0.1, 1.0, 5.0
FAILURES_IN_A_ROW: Final = 5

ANSWERED, NONE, FAILED, OVERLOADED = "answered", "none", "failed", "overloaded"
RESULTS: Final = (ANSWERED, NONE, FAILED, OVERLOADED)

_marks = count(1)

_log = logging.getLogger("sidecar.zervi")


class Found(NamedTuple):
    """The result of one look-up: ``value`` as in ``Answer``, and whether it grants nothing.

    It is valid for at most ``life`` seconds.
    """

    value: Any
    negative: bool = False
    life: float = float("inf")


class Fetch(Protocol[KeyIn]):
    """Asks a source; ``where`` is its place without secrets."""

    where: str

    async def find(self, key: KeyIn, token: bytes) -> Found:
        """Ask once; the caller sets the deadline and may cancel. Raises FetchError."""


class Pace(NamedTuple):
    """For how long answers count, in seconds; those that grant nothing are never stale."""

    ttl: float
    max_stale: float


class Asking(Generic[Key]):
    """The look-ups of one source and their answers.

    ``on_result(result, detail)`` is called after each look-up, and for each that is refused, with
    one of ``RESULTS``; ``on_change()`` where an answer replaces one with another value.
    It belongs to one event loop.
    """

    def __init__(
        self,
        what: str,
        fetch: Fetch[Key],
        pace: Pace,
        *,
        on_result: Callable[[str, str], None],
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = steady,
        random: Random | None = None,
    ) -> None:
        self._what = what
        self._fetch: Fetch[Key] = fetch
        self._pace = pace
        self._on_result = on_result
        self._on_change = on_change
        self._clock = clock
        self._ticks = monotonic if clock is steady else clock  # it costs half
        self._random = random or Random()  # noqa: S311 -- jitter, no secret
        self._good: AnswerCache[Key] = AnswerCache(MAX_BYTES)
        self._negative: AnswerCache[Key] = AnswerCache(MAX_NEGATIVE_BYTES)
        self._flights: dict[Key, asyncio.Task[Ended]] = {}
        self._ration = Ration(PER_SECOND, 1 / PER_SECOND)
        self._renewals = Ration(RENEWALS_AT_ONCE, 1 / RENEWALS_PER_SECOND)
        self._failures = 0  # in a row
        self._outages = 0  # of them, those that may not be the fault of the question
        self._paused_until = 0.0
        self._closed = False

    @property
    def failing(self) -> bool:
        """Whether the last look-ups failed, several in a row."""
        return self._failures >= FAILURES_IN_A_ROW

    @property
    def size(self) -> tuple[int, int, int]:
        """The number of answers, their size in bytes, and how many are older than ``ttl``."""
        now, known = self._clock(), self._good.values()
        stale = sum(each.answer is None or each.answer.fresh_until <= now for each in known)
        entries = len(self._good) + len(self._negative)
        return entries, self._good.bytes + self._negative.bytes, stale

    def get(self, key: Key) -> Answer | None:
        """Return the latest answer; a use shortly before its end begins the next look-up."""
        entry = self._good.get(key)
        if entry is None:
            entry = self._negative.get(key)
            return None if entry is None else entry.answer
        now = self._ticks()
        if now >= entry.look_at:
            entry.look_at = now + USED_SECONDS
            self._good.move_to_end(key)
            if self._clock() >= entry.refresh_at:
                self._begin(key, entry.token, entry)
        return entry.answer

    def peek(self, key: Key) -> Answer | None:
        """Return the latest answer; nothing is asked."""
        entry = self._good.get(key) or self._negative.get(key)
        return None if entry is None else entry.answer

    def ask(self, key: Key, token: bytes = b"") -> Awaitable[Ended] | Ended:
        """Ask, once for all who wait; ``token`` is what the answer is about."""
        entry = self._good.get(key) or self._negative.get(key)
        begun = self._begin(key, token, entry)
        return begun if isinstance(begun, Ended) else _end_of(begun)

    async def close(self) -> None:
        """Cancel every look-up; who waits gets FAILED. May be called again."""
        self._closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    def _begin(self, key: Key, token: bytes, entry: Entry | None) -> asyncio.Task[Ended] | Ended:
        flight = self._flights.get(key)
        if flight is not None:
            return flight
        now = self._clock()
        if self._closed or (entry is not None and now < entry.retry_at):
            return Ended.FAILED
        is_out = self._outages >= FAILURES_IN_A_ROW
        if is_out and (now < self._paused_until or self._flights):
            return Ended.FAILED
        known = self._good.get(key)
        former = None if known is None else known.answer
        if former is not None and now < former.stale_until:
            ahead = now < former.fresh_until
            if not self._renewals.take(now, AHEAD_LEAVES if ahead else 0.0):
                return Ended.OVERLOADED
        leave = FOR_THE_KNOWN if known is None else 0.0
        if len(self._flights) >= MAX_IN_FLIGHT * (1 - leave) or not self._ration.take(
            now, PER_SECOND * leave
        ):
            self._on_result(OVERLOADED, "")
            return Ended.OVERLOADED
        flight = asyncio.get_running_loop().create_task(self._fly(key, token, now))
        self._flights[key] = flight
        return flight

    async def _fly(self, key: Key, token: bytes, began: float) -> Ended:
        """Ask once; the answer is as old as the question."""
        try:
            async with asyncio.timeout(TIMEOUT):
                found = await self._fetch.find(key, token)
        except TimeoutError:
            cause = f"no complete answer within {TIMEOUT:g} s"
            return self._fail(key, token, FetchError(cause, "check Zervi's load and the network"))
        except FetchError as error:
            return self._fail(key, token, error)
        except Exception as error:  # noqa: BLE001 -- each waiting request gets an end
            _log.error("a look-up failed inside: %s", fault_place(error))
            cause = f"internal error {type(error).__name__}"
            return self._fail(key, token, FetchError(cause, "please report this as a bug"))
        finally:
            self._flights.pop(key, None)
        self._remember(key, token, found, began)
        return Ended.ANSWERED

    def _remember(self, key: Key, token: bytes, found: Found, began: float) -> None:
        former = self._good.get(key) or self._negative.get(key)
        mark = next(_marks).to_bytes(8)
        if former is not None and former.answer is not None:
            if former.answer.value == found.value:
                mark = former.answer.mark
            else:
                self._on_change()
        ttl, stale = self._pace
        if found.negative:
            ttl, stale = min(ttl, NEGATIVE_SECONDS), 0.0
        ttl = min(ttl, found.life)
        answer = Answer(found.value, mark, began + ttl, began + min(max(stale, ttl), found.life))
        entry = Entry(answer, token)
        self._good.drop(key)
        self._negative.drop(key)
        if found.negative:
            self._negative.put(key, entry)
        else:
            entry.refresh_at = began + ttl * self._random.uniform(REFRESH_FROM, REFRESH_TO)
            self._good.put(key, entry)
        if self.failing:
            _log.info("%s: %s answers again", self._what, self._fetch.where)
        self._failures = self._outages = 0
        self._on_result(NONE if found.negative else ANSWERED, "")

    def _fail(self, key: Key, token: bytes, error: FetchError) -> Ended:
        now = self._clock()
        entry = self._good.get(key) or self._negative.get(key)
        if entry is None:
            entry = Entry(None, token)
            self._negative.put(key, entry)
        entry.retry_at = now + self._pause(entry.failures)
        entry.failures += 1
        self._failures += 1
        if not error.answered or key in self._good:
            self._outages += 1
        if self._outages >= FAILURES_IN_A_ROW:
            self._paused_until = now + self._pause(self._outages - FAILURES_IN_A_ROW)
        _log.warning(
            "%s: no answer from %s: %s; %s",
            *(self._what, self._fetch.where, error.cause, error.advice),
            extra=once_a_minute(f"{self._what} {error.cause}"),
        )
        self._on_result(FAILED, error.cause)
        return Ended.FAILED

    def _pause(self, failures: int) -> float:
        ceiling = min(RETRY_CAP, RETRY_FIRST * 2.0 ** min(failures, 8))
        return self._random.uniform(RETRY_FLOOR, ceiling)


async def _end_of(flight: asyncio.Task[Ended]) -> Ended:
    await asyncio.wait([flight])  # cancelling the waiter does not cancel the look-up
    return Ended.FAILED if flight.cancelled() else flight.result()

"""Refreshes one issuer's key set: one fetch at a time, in the background and on demand."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from sidecar.core.tokens.key_sets import KeySetError, parse_key_set
from sidecar.core.tokens.keys import KeySet
from sidecar.zervi.interface import Fetcher, FetchError, RefreshSettings
from sidecar.zervi.key_log import KeyLog, counted
from sidecar.zervi.schedule import DEMAND_BURST, RETRY_FLOOR, Ration, Schedule

SUCCESS = "success"
NOT_MODIFIED = "not_modified"
FAILURE = "failure"


class Refresher:
    """Fetches one issuer's key set, passes each good one on, and keeps the last good one.

    A fetch is a task of its own, so that cancelling a waiter does not cancel it. Fetches are
    numbered: only a fetch that began after a waiter's request can prove that a key does not exist.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        algorithms: frozenset[str],
        settings: RefreshSettings,
        *,
        on_keys: Callable[[KeySet], None],
        on_refresh: Callable[[str, str], None],
        log: KeyLog,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self._fetcher = fetcher
        self._algorithms = algorithms
        self._settings = settings
        self._on_keys = on_keys
        self._on_refresh = on_refresh
        self._log = log
        self._clock = clock
        self._random = random
        self._schedule = Schedule(settings.refresh, random)
        self._ration = Ration(DEMAND_BURST, settings.cooldown)
        self._keys: KeySet | None = None
        self._validator: str | None = None  # of the document that _keys came from
        self._begun = 0  # the number of the latest fetch
        self._good = 0  # the number of the latest successful fetch
        self._good_at = 0.0  # when it began, by the loop's clock
        self._wanted = False  # whether a request needed an unknown key since then
        self._flight: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def restore(self, keys: KeySet) -> None:
        """Use a set from an earlier run; call it before ``start``."""
        self._keys = keys
        self._log.restored(keys, keys.fetched_at + self._settings.max_stale - self._clock())

    def start(self) -> asyncio.Task[None]:
        """Fetch now, and then on schedule; return the first fetch, which never fails."""
        return self._begin()

    @property
    def keys(self) -> KeySet | None:
        """The last good key set."""
        return self._keys

    def change(self, settings: RefreshSettings) -> None:
        """Refresh by other settings from now on; the keys are kept."""
        self._settings = settings
        self._schedule = Schedule(settings.refresh, self._random)
        self._ration = Ration(DEMAND_BURST, settings.cooldown)
        if self._timer is not None:
            self._timer.cancel()
            delay = self._delay(None, good=self._good == self._begun)
            self._timer = asyncio.get_running_loop().call_later(delay, self._begin)

    async def close(self) -> None:
        """Cancel the running fetch and schedule no more; waiters get False."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def refresh_for(self, kid: str | None) -> Awaitable[bool] | bool:
        """Fetch for a key that is not in the set, once for all concurrent requests.

        True: a good set was fetched for this, or within the cooldown; the key is in it or does not
        exist. False: no good set was fetched.
        """
        if self._closed:
            return False
        wanted = self._begun + 1
        flight = self._flight or self._begin_on_demand()
        if flight is None:
            return self._fetched_lately()
        return self._wait(flight, kid, wanted, joined=self._begun)

    async def _wait(
        self, flight: asyncio.Task[None], kid: str | None, wanted: int, joined: int
    ) -> bool:
        await asyncio.wait([flight])  # cancelling the waiter does not cancel the fetch
        if self._good >= wanted:
            return True
        if self._good < joined:
            return False
        if self._keys is not None and kid in self._keys.by_kid:
            return True
        # The running fetch may have been answered before the key was published.
        later = self._flight or self._begin_on_demand()
        if later is None:
            return self._fetched_lately()
        await asyncio.wait([later])
        return self._good >= wanted

    def _fetched_lately(self) -> bool:
        """Whether the latest fetch was good and is younger than the cooldown."""
        age = asyncio.get_running_loop().time() - self._good_at
        return 0 < self._good == self._begun and age <= self._settings.cooldown

    def _begin_on_demand(self) -> asyncio.Task[None] | None:
        if self._closed or not self._ration.take(asyncio.get_running_loop().time()):
            return None
        self._wanted = True
        return self._begin(on_demand=True)

    def _begin(self, *, on_demand: bool = False) -> asyncio.Task[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._begun += 1
        self._flight = asyncio.get_running_loop().create_task(self._fly(on_demand=on_demand))
        return self._flight

    async def _fly(self, *, on_demand: bool) -> None:
        """Fetch once and schedule the next fetch."""
        number, known, max_age = self._begun, self._keys, None
        try:
            max_age = await self._fetch()
        except FetchError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 -- whatever went wrong, the next fetch must come
            cause = f"internal error {type(error).__name__}"
            self._fail(FetchError(cause, "please report this as a bug"))
        finally:
            self._flight = None
            if not self._closed:
                delay = self._delay(max_age, good=self._good == number)
                self._timer = asyncio.get_running_loop().call_later(delay, self._begin)
        if on_demand and self._good == number and self._has_new_key(known):
            self._ration.give_back()  # the cause was a rotation, not a stray token

    async def _fetch(self) -> float | None:
        """Fetch, parse and pass on one key set; return its max-age. Raises FetchError."""
        # The set is as old as the request: later changes are not in it.
        fetched_at, began = self._clock(), asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._settings.timeout):
                answer = await self._fetcher.fetch(self._validator)
        except TimeoutError:
            cause = f"no complete answer within {self._settings.timeout:g} s"
            raise FetchError(cause, "check Zervi's load and the network") from None
        previous = self._keys
        if answer.body is None and previous is not None:
            keys, result = previous._replace(fetched_at=fetched_at), NOT_MODIFIED
        else:
            keys, result = await self._read(answer.body or b"", fetched_at), SUCCESS
        self._on_keys(keys)
        self._keys, self._validator = keys, answer.validator
        self._good, self._good_at, self._wanted = self._begun, began, False
        self._log.good(keys, previous, began)
        self._on_refresh(result, counted(keys))
        return answer.max_age

    async def _read(self, document: bytes, fetched_at: float) -> KeySet:
        try:
            return await asyncio.to_thread(
                parse_key_set, document, algorithms=self._algorithms, fetched_at=fetched_at
            )
        except KeySetError as error:
            advice = "check the document; it must be a JWKS with keys for verification"
            raise FetchError(f"invalid key set: {error}", advice) from error

    def _fail(self, error: FetchError) -> None:
        left = self._left()
        self._log.bad(error, left, asyncio.get_running_loop().time())
        stale = "; its keys are older than max_stale" if left is not None and left <= 0 else ""
        self._on_refresh(FAILURE, error.cause + stale)

    def _left(self) -> float | None:
        """Return for how many seconds the keys remain usable; None without keys."""
        if self._keys is None:
            return None
        return self._keys.fetched_at + self._settings.max_stale - self._clock()

    def _delay(self, max_age: float | None, *, good: bool) -> float:
        left = self._left()
        usable = left is not None and left > 0
        if good:
            delay = self._schedule.after_success(max_age)
        else:
            delay = self._schedule.after_failure(urgent=not usable, wanted=self._wanted)
        # The last attempt is at the moment when the keys expire, so that health changes then.
        return min(delay, max(left, RETRY_FLOOR)) if left is not None and usable else delay

    def _has_new_key(self, known: KeySet | None) -> bool:
        if self._keys is None:
            return False
        return known is None or not self._keys.thumbprints <= known.thumbprints

"""When to fetch: pure, with the clock and the random source as arguments.

It has no sockets and tasks, so that a fleet of thousands can be simulated with a virtual clock.
"""

from random import Random

# The random share of an interval, so that the fetches of pods that started together spread out
# within a few intervals.
JITTER = 0.15

# The minimum to which `max-age` can shorten the interval: an issuer that sends `max-age=0` by
# default (some frameworks do) must not get a request each second from thousands of pods. `refresh`
# itself may be shorter.
MIN_MAX_AGE = 30.0

# Backoff with full jitter: a retry comes after RETRY_FLOOR to a ceiling that doubles from
# RETRY_FIRST. Pods that lost Zervi at the same instant must not all retry at the same instant.
RETRY_FLOOR = 0.1  # never a busy loop
RETRY_FIRST = 0.5  # a Zervi that starts together with this pod is ready in about a second

# Without usable keys every request is denied, so a retry comes within this time; 10,000 pods in
# this state send about 1,300 small requests per second.
RETRY_CAP_URGENT = 15.0

# With usable keys: the ceiling grows to the refresh interval, at most to this.
RETRY_CAP = 300.0

# The first ceiling as a share of that. An earlier retry would add the whole steady rate of a fleet;
# with this share an outage doubles the rate and never triples it (``make fleet`` measures it).
RETRY_SHARE = 2 / 3

# While a request may wait for a new key, the first retries are as quick as without usable keys: a
# Zervi that restarts with a new key is up by then. Only the first ones: tokens with invented kids
# must not speed up a fleet.
QUICK_RETRIES = 4

# How many fetches on demand without a new key are possible before `cooldown` applies: one for a
# stray token, one for a rotation right after it.
DEMAND_BURST = 2


class Schedule:
    """When an issuer's next background fetch is due; it learns the result of each fetch."""

    def __init__(self, refresh: float, random: Random) -> None:
        """``refresh`` is the interval in seconds."""
        self._refresh = refresh
        self._random = random
        self._failures = 0

    def after_success(self, max_age: float | None) -> float:
        """Return the seconds to the next fetch.

        ``max_age`` (seconds) may shorten the interval, never lengthen it.
        """
        self._failures = 0
        interval = self._refresh
        if max_age is not None:
            interval = min(interval, max(max_age, MIN_MAX_AGE))
        return interval * self._random.uniform(1 - JITTER, 1 + JITTER)

    def after_failure(self, *, urgent: bool, wanted: bool = False) -> float:
        """Return the seconds to the next retry.

        ``urgent``: there are no usable keys. ``wanted``: a request needs a key that is not in the
        last good set.
        """
        first, cap = RETRY_FIRST, RETRY_CAP_URGENT
        if not urgent and not (wanted and self._failures < QUICK_RETRIES):
            interval = min(self._refresh, RETRY_CAP)
            first, cap = max(first, RETRY_SHARE * interval), max(cap, interval)
        ceiling = min(cap, first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._random.uniform(RETRY_FLOOR, ceiling)


class Ration:
    """A token bucket: ``burst`` tokens, and one more every ``seconds``."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = float(burst)
        self._seconds = seconds
        self._level = self._burst
        self._counted_at = 0.0

    def take(self, now: float, leave: float = 0.0) -> bool:
        """Take a token at ``now`` (seconds of a monotonic clock); False if there is none.

        ``leave`` tokens must remain: they are for others.
        """
        grown = (now - self._counted_at) / self._seconds
        self._level = min(self._burst, self._level + grown)
        self._counted_at = now
        if self._level < 1.0 + leave:
            return False
        self._level -= 1.0
        return True

    def give_back(self) -> None:
        """Return a token."""
        self._level = min(self._burst, self._level + 1.0)

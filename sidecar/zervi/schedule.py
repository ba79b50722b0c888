"""When to fetch: pure arithmetic over a clock and a random source that others hold.

Kept apart from sockets and tasks so that a fleet of thousands can be simulated on a made-up clock.
"""

from random import Random

# A fetch falls this far around its interval, so that pods started by one rollout spread out
# within a few rounds.
JITTER = 0.15

# The least that `max-age` may shorten the interval to: an issuer that says `max-age=0` by habit
# (frameworks do) is not asked each second by thousands of pods. `refresh` itself may be shorter.
MIN_MAX_AGE = 30.0

# Back-off with full jitter: a try falls between RETRY_FLOOR and a ceiling that doubles from
# RETRY_FIRST. Pods that lost Zervi at one instant must not all come back at one instant.
RETRY_FLOOR = 0.1  # never a busy loop, even where the dice fall on nothing
RETRY_FIRST = 0.5  # a Zervi that starts beside this pod is there in a second or so

# Without usable keys every request is denied, so a try comes within this time of Zervi's return;
# 10,000 pods in that state are some 1,300 small requests a second.
RETRY_CAP_URGENT = 15.0

# With usable keys nothing hurts yet: the ceiling grows to the refresh interval, at most to this.
RETRY_CAP = 300.0

# It begins at this share of that, since each try that comes before the next regular one would add a
# fleet's whole steady rate. So an outage makes a fleet ask twice as often as usual, and never three
# times (``make fleet`` shows it).
RETRY_SHARE = 2 / 3

# While a request may be waiting for a new key, the first tries after a failure are as quick as if
# no key were left: a Zervi that restarts with a new key is back by then. Only the first ones:
# made-up kids must not make a fleet hurry.
QUICK_RETRIES = 4

# How many fetches on demand that bring no new key may follow each other before `cooldown` counts:
# one for a stray token, one for a rotation that comes right after it.
DEMAND_BURST = 2


class Schedule:
    """When an issuer's next background fetch is due, told after each fetch how it went."""

    def __init__(self, refresh: float, random: Random) -> None:
        """Take the wanted interval in seconds."""
        self._refresh = refresh
        self._random = random
        self._failures = 0

    def after_success(self, max_age: float | None) -> float:
        """Give the seconds to the next fetch.

        ``max_age`` (seconds) may shorten the interval, never lengthen it.
        """
        self._failures = 0
        interval = self._refresh
        if max_age is not None:
            interval = min(interval, max(max_age, MIN_MAX_AGE))
        return interval * self._random.uniform(1 - JITTER, 1 + JITTER)

    def after_failure(self, *, urgent: bool, wanted: bool = False) -> float:
        """Give the seconds to the next try.

        ``urgent`` says that no usable key is left, ``wanted`` that a key was asked for which the
        last good set lacks.
        """
        first, cap = RETRY_FIRST, RETRY_CAP_URGENT
        if not urgent and not (wanted and self._failures < QUICK_RETRIES):
            interval = min(self._refresh, RETRY_CAP)
            first, cap = max(first, RETRY_SHARE * interval), max(cap, interval)
        ceiling = min(cap, first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._random.uniform(RETRY_FLOOR, ceiling)


class Ration:
    """A token bucket: something may happen ``burst`` times, and once more each ``seconds``."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = float(burst)
        self._seconds = seconds
        self._level = self._burst
        self._counted_at = 0.0

    def take(self, now: float) -> bool:
        """Ask for one at ``now`` (a steady clock, in seconds); True grants it."""
        grown = (now - self._counted_at) / self._seconds
        self._level = min(self._burst, self._level + grown)
        self._counted_at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

    def give_back(self) -> None:
        """Return what was taken."""
        self._level = min(self._burst, self._level + 1.0)

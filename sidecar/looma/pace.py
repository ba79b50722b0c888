"""When a node calls its registry: pure, with the clock and the random source as arguments.

Ten thousand nodes share one registry, and many events happen to all of them together: they start,
their registry stops, it returns. Every time is therefore random, in ranges that keep the load below
three times the steady rate at any such event. ``make fleet`` measures it, and ``docs/scale.md``
explains it.
"""

from random import Random

from sidecar.looma.registry import Ok, Operation, Outcome, RetryAfter, Unregistered

DEFAULT_TTL = 300.0  # Looma's own
MIN_TTL, MAX_TTL = 5.0, 86_400.0
MIN_INTERVAL, MAX_INTERVAL = 1.0, 3_600.0
MAX_RETRY_AFTER = 300.0  # a longer wait would exceed Looma's TTL and remove a healthy node
JITTER = 0.1
HEARTBEATS_PER_TTL = 3  # a node is removed after the loss of three
CHANGE_GAP = 1.0  # seconds between reports of a state that flaps

# Shares of the interval. With shorter ones, a whole fleet that registers or retries would add the
# steady rate or more to the registry's load.
START_SPREAD = 2 / 3
FIRST_BACKOFF = 2 / 3


class Pace:
    """One node's schedule; times are seconds of a monotonic clock."""

    def __init__(self, heartbeat: float, random: Random, now: float) -> None:
        self.registered = False
        self._wanted = heartbeat
        self._ttl = DEFAULT_TTL
        self._random = random
        self._failures = 0
        self._confirmed = False  # a heartbeat was accepted since the last registration
        self._heard_at = now
        self._for_change = False
        self._changed_at = now - CHANGE_GAP
        self.due = now + self._up_to(START_SPREAD)

    @property
    def interval(self) -> float:
        """The time between heartbeats in seconds, before jitter."""
        return min(self._wanted, self._ttl / HEARTBEATS_PER_TTL / (1 + JITTER))

    @property
    def operation(self) -> Operation:
        """The next operation."""
        return Operation.HEARTBEAT if self.registered else Operation.REGISTER

    def change(self, now: float) -> None:
        """Make the next report due now, because the node's state has changed.

        Not so while the registry fails or does not know the node: the next attempt reports it.
        """
        if self.registered and not self._failures:
            due = max(now, self._changed_at + CHANGE_GAP)
            if due < self.due:
                self.due, self._for_change = due, True

    def sent(self, now: float) -> None:
        """Note that a report is sent now."""
        if self._for_change:
            self._changed_at, self._for_change = now, False

    def done(self, outcome: Outcome, now: float) -> None:
        """Note the outcome of ``operation``, and set the time of the next one."""
        if isinstance(outcome, Ok):
            self._accepted(outcome, now)
        elif isinstance(outcome, Unregistered) and self.registered:
            self._forgotten(now)
        else:
            self._failed(outcome, now)

    def _accepted(self, outcome: Ok, now: float) -> None:
        self._ttl = outcome.ttl or self._ttl
        self._wanted = outcome.interval or self._wanted
        self._failures = 0
        self._heard_at = now
        self._confirmed = self.registered
        if self.registered:
            self.due = now + self.interval * self._random.uniform(1 - JITTER, 1 + JITTER)
        else:
            self.registered = True
            self.due = now + self._up_to(1.0)  # the heartbeats' phase

    def _forgotten(self, now: float) -> None:
        """Register again: immediately, or later at a registry that forgets each time."""
        at_once = self._confirmed and not self._failures
        self.registered = False
        self._failures = 0
        self.due = now if at_once else now + self._up_to(START_SPREAD)

    def _failed(self, outcome: Outcome, now: float) -> None:
        wait = min(outcome.seconds, MAX_RETRY_AFTER) if isinstance(outcome, RetryAfter) else 0.0
        window = min(FIRST_BACKOFF * 2.0 ** min(self._failures, 8), 1.0)
        self._failures += 1
        self.due = now + wait + self._up_to(window)
        if now - self._heard_at >= self._ttl:
            self.registered = False  # the TTL is over: the registry has removed this node

    def _up_to(self, share: float) -> float:
        return self._random.uniform(0.0, share * self.interval)

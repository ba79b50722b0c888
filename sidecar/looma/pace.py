"""When a node speaks to its registry: pure, with time and chance given.

Ten thousand nodes share one registry, and what happens to one of them often happens to all: they
start together, their registry dies, it returns. So every moment is drawn at random, and the ranges
are chosen so that no such event brings more than three times the steady rate. ``make fleet`` shows
it, and ``docs/scale.md`` says how.
"""

from random import Random

from sidecar.looma.registry import Ok, Operation, Outcome, RetryAfter, Unregistered

DEFAULT_TTL = 300.0  # Looma's own
MIN_TTL, MAX_TTL = 5.0, 86_400.0
MIN_INTERVAL, MAX_INTERVAL = 1.0, 3_600.0
MAX_RETRY_AFTER = 300.0  # longer would take a healthy node out of a registry with Looma's TTL
JITTER = 0.1
HEARTBEATS_PER_TTL = 3  # two may be lost before a node is taken for dead
CHANGE_GAP = 1.0  # a state that flaps is reported once a second

# Shares of the interval. Registering within a shorter time than this, or trying again sooner,
# would add a steady rate or more to what the registry sees when the whole fleet does so.
START_SPREAD = 2 / 3
FIRST_BACKOFF = 2 / 3


class Pace:
    """One node's schedule; times are seconds of a clock that never jumps."""

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
        """What is to be asked next."""
        return Operation.HEARTBEAT if self.registered else Operation.REGISTER

    def change(self, now: float) -> None:
        """Take note that the node's state is not what the registry knows.

        It is reported at once, but a registry that is failing is not asked sooner for it, and one
        that does not know the node learns the state when the node registers.
        """
        if self.registered and not self._failures:
            due = max(now, self._changed_at + CHANGE_GAP)
            if due < self.due:
                self.due, self._for_change = due, True

    def sent(self, now: float) -> None:
        """Take note that a report leaves now."""
        if self._for_change:
            self._changed_at, self._for_change = now, False

    def done(self, outcome: Outcome, now: float) -> None:
        """Take note of the outcome of what ``operation`` named, and decide when to speak again."""
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
        """Register again: at once, but for a registry that came back or forgets each time."""
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
            self.registered = False  # the registry has forgotten; asking would be one call more

    def _up_to(self, share: float) -> float:
        return self._random.uniform(0.0, share * self.interval)

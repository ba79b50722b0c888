"""What a decision depends on beside the request."""

from collections.abc import MutableMapping
from typing import NamedTuple

from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import NO_ANSWERS, NO_ATTEMPTS, Answers, Attempts
from sidecar.core.tokens.selection import Tries
from sidecar.core.tokens.verify import Verified
from sidecar.core.trace import Trace


class Context(NamedTuple):
    """What ``decide`` gets beside the request: its arguments of these names."""

    snapshot: Snapshot
    verified: MutableMapping[bytes, Verified]
    now: float
    steady: float | None
    trace: Trace | None
    tries: Tries
    answers: Answers = NO_ANSWERS
    attempts: Attempts = NO_ATTEMPTS

    @property
    def aged_to(self) -> float:
        """The moment by the steady clock."""
        return self.now if self.steady is None else self.steady

"""Bounds the time that verifying with further keys, for tokens without a known kid, may take."""

import time
from collections.abc import Callable
from typing import Final

SECONDS_A_SECOND: Final = 0.01
"""Of failed verifications, per issuer: 1 % of a core, and some 250 RSA verifications a second.

Tokens whose first key verifies, and those that a further key verifies, cost nothing of it. Nor does
the further key that verified last: while an issuer changes its key, forged tokens may cost one
verification more, and good ones of both keys pass.
"""


class TryBudget:
    """What is left for each issuer, in seconds of verifying; it fills up within a second.

    ``clock`` and ``cost`` are in seconds: of a monotonic clock, and of this thread's work.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cost: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock = clock
        self._cost = cost
        self._left: dict[int, tuple[float, float]] = {}  # issuer: seconds left, and when
        self._in_use: dict[int, str] = {}  # issuer: the further key that verified last

    def tries(self, issuer: int, key: str, signed: Callable[[], bool]) -> bool | None:
        """Verify if the issuer's budget allows it; None: it does not. A failure is charged.

        ``key`` is the thumbprint of the key that ``signed`` verifies with.
        """
        if self._in_use.get(issuer) == key:
            return signed()
        now = self._clock()
        left, since = self._left.get(issuer, (SECONDS_A_SECOND, now))
        left = min(SECONDS_A_SECOND, left + (now - since) * SECONDS_A_SECOND)
        if left <= 0:
            return None
        began = self._cost()
        verified = signed()
        if verified is True:
            self._in_use[issuer] = key
        else:
            left -= self._cost() - began
        self._left[issuer] = left, now
        return verified

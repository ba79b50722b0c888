"""A clock that never jumps, and times as text.

The wall clock jumps (NTP, an operator, a virtual machine that migrates). It is right for a token's
own times, which come from the issuer's wall clock, and wrong for the age of anything.
"""

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal

SINCE_EPOCH: Final = time.time() - time.monotonic()
"""What to add to ``time.monotonic()`` for seconds since the epoch."""


def steady() -> float:
    """Return seconds since the epoch as of the start of the process, without later jumps."""
    return time.monotonic() + SINCE_EPOCH


def rfc3339(seconds: float, precision: Literal["seconds", "milliseconds"]) -> str:
    """Return ``seconds`` since the epoch as text in UTC (RFC 3339)."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    shown = _second(whole)
    return f"{shown}Z" if precision == "seconds" else f"{shown}.{micros // 1000:03}Z"


@lru_cache(maxsize=4)  # a log has many lines of the same second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")

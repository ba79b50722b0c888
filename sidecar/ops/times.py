"""Times as logs and answers show them."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal


def rfc3339(seconds: float, precision: Literal["seconds", "milliseconds"]) -> str:
    """Show ``seconds`` since the epoch in UTC, as RFC 3339 has it."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    shown = _second(whole)
    return f"{shown}Z" if precision == "seconds" else f"{shown}.{micros // 1000:03}Z"


@lru_cache(maxsize=4)  # a log has many lines of the same second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")

"""Times as logs and answers show them."""

from datetime import UTC, datetime
from typing import Literal


def rfc3339(seconds: float, precision: Literal["seconds", "milliseconds"]) -> str:
    """Show ``seconds`` since the epoch in UTC, as RFC 3339 has it."""
    shown = datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision)
    return shown.replace("+00:00", "Z")

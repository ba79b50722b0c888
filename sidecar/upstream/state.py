"""The upstream's state, computed from its probes."""

from enum import StrEnum
from typing import NamedTuple

FAILURES_UNTIL_CRITICAL = 3  # fewer may be a restart or a full queue


class UpstreamState(StrEnum):
    """The upstream's state; the values are those of Looma's ``health_status``."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


class UpstreamHealth(NamedTuple):
    """The state, and the number of consecutive failed probes."""

    state: UpstreamState = UpstreamState.UNKNOWN
    failures: int = 0


def after_probe(health: UpstreamHealth, succeeded: bool) -> UpstreamHealth:
    """Return the health after another probe."""
    if succeeded:
        return UpstreamHealth(UpstreamState.HEALTHY)
    failures = min(health.failures + 1, FAILURES_UNTIL_CRITICAL)
    critical = failures == FAILURES_UNTIL_CRITICAL
    return UpstreamHealth(UpstreamState.CRITICAL if critical else UpstreamState.WARNING, failures)

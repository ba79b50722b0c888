"""The upstream's state, from one probe to the next."""

from enum import StrEnum
from typing import NamedTuple

FAILURES_UNTIL_CRITICAL = 3  # one or two may be a restart or a full queue; three in a row are not


class UpstreamState(StrEnum):
    """Whether the upstream can work, in the words of Looma's ``health_status``."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


class UpstreamHealth(NamedTuple):
    """The state, and how many probes in a row have failed."""

    state: UpstreamState = UpstreamState.UNKNOWN
    failures: int = 0


def after_probe(health: UpstreamHealth, succeeded: bool) -> UpstreamHealth:
    """Return the health after one more probe."""
    if succeeded:
        return UpstreamHealth(UpstreamState.HEALTHY)
    failures = min(health.failures + 1, FAILURES_UNTIL_CRITICAL)
    critical = failures == FAILURES_UNTIL_CRITICAL
    return UpstreamHealth(UpstreamState.CRITICAL if critical else UpstreamState.WARNING, failures)

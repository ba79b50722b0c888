"""The counters of the last minutes, for the page's charts."""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from sidecar.ops.metrics import Metrics, quantile

INTERVAL: Final = 5.0  # seconds between two samples
MAX_SAMPLES: Final = 121  # ten minutes; some 300 bytes each


class Sample(NamedTuple):
    """The counters at one moment; ``at`` is in seconds since the epoch."""

    at: float
    checks: int
    denials: int
    buckets: tuple[int, ...]


class Interval(NamedTuple):
    """What happened between two samples: checks and denials per second, percentiles in seconds."""

    at: float
    checks: float
    denials: float
    median: float | None
    p99: float | None


class History:
    """Takes samples of the counters and returns what happened between them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)

    def sample(self, at: float) -> None:
        """Take a sample."""
        checks, denials, _ = self._metrics.summary()
        self._samples.append(Sample(at, checks, denials, self._metrics.check_buckets))

    def intervals(self) -> list[Interval]:
        """Return what happened, the oldest first."""
        return [
            _between(before, after)
            for before, after in pairwise(self._samples)
            if after.at > before.at  # else the wall clock went back
        ]


def _between(before: Sample, after: Sample) -> Interval:
    seconds = after.at - before.at
    buckets: Sequence[int] = [
        now - then for then, now in zip(before.buckets, after.buckets, strict=True)
    ]
    return Interval(
        after.at,
        (after.checks - before.checks) / seconds,
        (after.denials - before.denials) / seconds,
        quantile(0.5, buckets),
        quantile(0.99, buckets),
    )

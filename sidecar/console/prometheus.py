"""Time series and alerts from Prometheus, where ``prometheus.url`` is set."""

import asyncio
import time
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from sidecar.console import shown
from sidecar.console.remote import Remote, RemoteError

POINTS: Final = 60  # of a chart: as many as it can show at 360 px
MAX_SERIES: Final = 12  # of one chart; a reader cannot distinguish more lines
MAX_ALERTS: Final = 100


class Query(NamedTuple):
    """One chart: its key in the API and the pages' words, its unit and its PromQL."""

    key: str
    unit: str
    promql: str
    by: str = ""


QUERIES: Final = (
    Query("checks", "1/s", "sum(rate(zervi_sidecar_checks_total[5m]))"),
    Query(
        "denials",
        "1/s",
        'topk(8, sum by (reason) (rate(zervi_sidecar_checks_total{decision="deny"}[5m])))',
        "reason",
    ),
    Query(
        "p99",
        "s",
        "histogram_quantile(0.99, sum by (le) (rate(zervi_sidecar_check_seconds_bucket[5m])))",
    ),
    Query("ready", "nodes", 'sum(zervi_sidecar_ready{component="sidecar"})'),
)

RANGES: Final = {"1h": 3600, "6h": 6 * 3600, "24h": 24 * 3600, "7d": 7 * 24 * 3600}


class Prometheus:
    """Prometheus' HTTP API."""

    def __init__(self, remote: Remote, url: str) -> None:
        self._remote = remote
        self._base = url.rstrip("/")

    async def series(self, range_: str) -> list[dict[str, Any]]:
        """Return the charts of a range in ``RANGES``. Raises RemoteError if none has an answer."""
        seconds = RANGES[range_]
        end = int(time.time())
        found = await asyncio.gather(
            *(self._one(query, end - seconds, end, seconds // POINTS) for query in QUERIES),
            return_exceptions=True,
        )
        failed = [each for each in found if isinstance(each, BaseException)]
        for each in failed:
            if not isinstance(each, RemoteError):
                raise each
        if len(failed) == len(found):
            raise failed[0]
        return [
            {
                "key": query.key,
                "unit": query.unit,
                "query": query.promql,
                "error": str(each) if isinstance(each, BaseException) else "",
                "series": [] if isinstance(each, BaseException) else each,
            }
            for query, each in zip(QUERIES, found, strict=True)
        ]

    async def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire. Raises RemoteError."""
        body = await self._remote.json("GET", f"{self._base}/api/v1/alerts")
        alerts = shown.listed(shown.mapping(body.get("data")).get("alerts"))
        return [
            {
                "name": shown.text(shown.mapping(alert.get("labels")).get("alertname"), 128),
                "severity": shown.text(shown.mapping(alert.get("labels")).get("severity"), 32),
                "summary": shown.text(shown.mapping(alert.get("annotations")).get("summary")),
                "since": shown.moment(alert.get("activeAt")),
            }
            for alert in map(shown.mapping, alerts[:MAX_ALERTS])
            if alert.get("state") == "firing"
        ]

    async def _one(self, query: Query, start: int, end: int, step: int) -> list[dict[str, Any]]:
        asked = urlencode({"query": query.promql, "start": start, "end": end, "step": step})
        body = await self._remote.json("GET", f"{self._base}/api/v1/query_range?{asked}")
        results = shown.listed(shown.mapping(body.get("data")).get("result"))
        return [
            {
                "name": shown.text(shown.mapping(result.get("metric")).get(query.by), 64),
                "points": _points(result.get("values")),
            }
            for result in map(shown.mapping, results[:MAX_SERIES])
        ]


def _points(values: object) -> list[list[float | None]]:
    """Return pairs of a time and a value, which is None where Prometheus has none (NaN)."""
    points: list[list[float | None]] = []
    for pair in shown.listed(values)[: 2 * POINTS]:
        if not isinstance(pair, list) or len(pair) != 2:
            continue
        at, value = shown.number(pair[0]), pair[1]
        try:
            found = shown.number(float(value)) if isinstance(value, str) else None
        except ValueError:
            found = None
        if at is not None:
            points.append([at, found])
    return points

"""The answers of the ops address: /livez, /readyz and /metrics."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from sidecar.net.clock import rfc3339
from sidecar.ops import redact
from sidecar.ops.metrics import Metrics, Values
from sidecar.ops.readiness import Component, Health

MAX_DETAIL = 512  # characters


MOVED = {  # earlier versions served these commands over TCP
    path: f"not served over TCP: use the command zervi-sidecar {command}, which needs listen.admin"
    for path, command in (("/leave", "leave"), ("/policy/promote", "promote"))
}


class OpsAnswer(NamedTuple):
    """An answer; ``headers`` are further ones."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Route = Callable[[], Awaitable[OpsAnswer]]
Routes = Mapping[tuple[str, str], Route]  # by method and path; GET includes HEAD


def ops_routes(health: Health, metrics: Metrics) -> dict[tuple[str, str], Route]:
    """Return the routes of the ops address."""
    scraped = _Exposition(metrics)

    async def livez() -> OpsAnswer:
        return OpsAnswer(200, b'{"live":true}\n')

    async def readyz() -> OpsAnswer:
        return OpsAnswer(200 if health.ready else 503, _readiness(health))

    return {
        ("GET", "/livez"): livez,
        ("GET", "/readyz"): readyz,
        ("GET", "/metrics"): scraped.answer,
    }


class _Exposition:
    """Renders the metrics in a thread; concurrent scrapes share one rendering."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._rendering: asyncio.Task[OpsAnswer] | None = None

    async def answer(self) -> OpsAnswer:
        if self._rendering is None or self._rendering.done():
            work = asyncio.to_thread(_render, self._metrics.values())
            self._rendering = asyncio.create_task(work)
        return await asyncio.shield(self._rendering)


def _render(values: Values) -> OpsAnswer:
    from sidecar.ops import exposition  # prometheus_client, at the first scrape

    return OpsAnswer(200, exposition.render(values), exposition.CONTENT_TYPE)


def _readiness(health: Health) -> bytes:
    document = {
        "ready": health.ready,
        **_entry(health.overall),
        "components": {name: _entry(component) for name, component in health.components.items()},
    }
    return json.dumps(document, indent=2).encode("ascii") + b"\n"


def _entry(component: Component) -> dict[str, str]:
    return {
        "state": component.state,
        "since": rfc3339(component.since, "seconds"),
        "detail": redact.text(component.detail, MAX_DETAIL),
    }

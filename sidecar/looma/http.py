"""Looma as the registry: its cluster API over HTTP (``docs/looma-registry.openapi.yaml``)."""

import logging
from typing import Any, NamedTuple
from urllib.parse import quote

from sidecar.looma import report as bodies
from sidecar.looma.answers import Caller, outcome_of
from sidecar.looma.registry import Failed, Ok, Outcome, Unregistered
from sidecar.looma.report import Report
from sidecar.net.logs import once_a_minute

_log = logging.getLogger(__name__)


class Paths(NamedTuple):
    """The paths of Looma's operations; ``{service_id}`` is replaced."""

    register: str = "/cluster/register"
    heartbeat: str = "/cluster/heartbeat/{service_id}"
    deregister: str = "/cluster/deregister/{service_id}"
    metrics: str = "/cluster/metrics/{service_id}"


class HttpRegistry:
    """Looma's cluster API for one node."""

    def __init__(self, url: str, paths: Paths, service_id: str, call: Caller) -> None:
        escaped = quote(service_id, safe="")
        self._urls = Paths(
            *(url.rstrip("/") + path.replace("{service_id}", escaped) for path in paths)
        )
        self._call = call

    async def register(self, report: Report) -> Outcome:
        """Register; a 404 means that the path is wrong."""
        outcome = await self._ask("POST", self._urls.register, bodies.registration(report))
        if isinstance(outcome, Unregistered):
            return Failed("HTTP status 404: the registry has no such path, see looma.paths")
        return outcome

    async def heartbeat(self, report: Report) -> Outcome:
        """Send a heartbeat with the node's state."""
        return await self._ask("POST", self._urls.heartbeat, bodies.heartbeat(report))

    async def deregister(self) -> Outcome:
        """Deregister; an unknown node is a success."""
        outcome = await self._ask("DELETE", self._urls.deregister, None)
        return Ok() if isinstance(outcome, Unregistered) else outcome

    async def metrics(self, report: Report) -> Outcome:
        """Send the node's metrics."""
        return await self._ask("POST", self._urls.metrics, bodies.metrics(report))

    async def _ask(self, method: str, url: str, body: Any) -> Outcome:
        answer = await self._call(method, url, body)
        if isinstance(answer, Failed):
            return answer
        return outcome_of(answer, _complain)


def _complain(key: str, text: str) -> None:
    _log.warning("Looma: %s", text, extra=once_a_minute(key))

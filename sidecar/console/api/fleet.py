"""``/api/overview``, ``/api/services``, ``/api/nodes`` and ``/api/me``."""

from typing import Any

from aiohttp import web

from sidecar.console.answers import JSON, answer, fail
from sidecar.console.caller import Caller
from sidecar.console.fleet.cluster import Cluster
from sidecar.console.fleet.nodes import as_json, report_json
from sidecar.console.fleet.search import read, search


class FleetApi:
    """Handlers over a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def me(self, _request: web.Request, caller: Caller) -> web.Response:
        """Return who the caller is."""
        return answer({**caller.as_json(), "may_manage": caller.may_manage})

    async def overview(self, _request: web.Request, _caller: Caller) -> web.Response:
        """Return the overview."""
        return web.Response(text=await self._cluster.overview_text(), content_type=JSON)

    async def services(self, _request: web.Request, _caller: Caller) -> web.Response:
        """Return every service."""
        return answer(await self._cluster.services_overview())

    async def nodes(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return one page of the nodes that match."""
        return answer(await self.nodes_page(request))

    async def node(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return one node with its last reports."""
        return answer(await self.node_page(request.match_info["id"]))

    async def nodes_page(self, request: web.Request) -> dict[str, Any]:
        """Return ``GET /api/nodes``. Raises SearchError."""
        wanted = read(request.query)
        fleet = await self._cluster.fleet()
        found = search(fleet, wanted)
        now = self._cluster.clock()
        return {
            "nodes": [as_json(node, now) for node in found.nodes],
            "total": len(fleet.nodes),
            "matched": found.matched,
            "page": found.page,
            "pages": found.pages,
        }

    async def node_page(self, id_: str) -> dict[str, Any]:
        """Return ``GET /api/nodes/{id}``. Raises ProblemError."""
        fleet = await self._cluster.fleet()
        node = fleet.nodes.get(id_)
        if node is None:
            fail(404, "NO_NODE", "the registry lists no such node")
        reports = self._cluster.registry.history.of(id_)
        rate = fleet.rates.get(id_)
        return {
            **as_json(node, self._cluster.clock()),
            "checks_per_second": None if rate is None else round(rate.checks, 2),
            "denials_per_second": None if rate is None else round(rate.denials, 2),
            "reports": [report_json(report) for report in reports],
        }

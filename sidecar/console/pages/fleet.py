"""The pages of the cluster: overview, services, nodes."""

from collections.abc import Iterable

from aiohttp import web

from sidecar.console.api.fleet import FleetApi
from sidecar.console.caller import Caller
from sidecar.console.fleet.cluster import Cluster
from sidecar.console.fleet.nodes import HEALTH
from sidecar.console.fleet.search import SORTS
from sidecar.console.guard import Guard
from sidecar.console.pages.language import language_of
from sidecar.console.pages.render import html, page, render


class FleetViews:
    """Handlers of pages; ``fleet`` has their data."""

    def __init__(self, cluster: Cluster, fleet: FleetApi) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._overviews: dict[str, tuple[object, str]] = {}  # by language, with what it shows

    def routes(self, guard: Guard) -> Iterable[web.RouteDef]:
        """Return the routes of these pages."""
        yield web.get("/view/overview", guard.known(self.overview))
        yield web.get("/view/services", guard.known(self.services))
        yield web.get("/view/nodes", guard.known(self.nodes))
        yield web.get("/view/nodes/{id}", guard.known(self.node))

    async def overview(self, request: web.Request, _caller: Caller) -> web.Response:
        """Show the overview; it is rendered once for all viewers."""
        overview = await self._cluster.overview()
        language = language_of(request)
        shown, text = self._overviews.get(language, (None, ""))
        if shown is not overview:
            text = render("overview.html", language, overview=overview)
            self._overviews[language] = overview, text
        return html(text)

    async def services(self, request: web.Request, _caller: Caller) -> web.Response:
        """Show every service."""
        services = await self._cluster.services_overview()
        return page(request, "services.html", services=services)

    async def nodes(self, request: web.Request, _caller: Caller) -> web.Response:
        """Show one page of the nodes that match."""
        found = await self._fleet.nodes_page(request)
        query = {name: value for name, value in request.query.items() if value}
        return page(request, "nodes.html", found=found, query=query, health=HEALTH, sorts=SORTS)

    async def node(self, request: web.Request, _caller: Caller) -> web.Response:
        """Show one node with its last reports."""
        node = await self._fleet.node_page(request.match_info["id"])
        return page(request, "node.html", node=node)

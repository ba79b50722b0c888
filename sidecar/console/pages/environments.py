"""The page of environments: create one, watch its steps, delete it."""

from collections.abc import Iterable

from aiohttp import web

from sidecar.console.api.environments import EnvironmentsApi
from sidecar.console.caller import Caller
from sidecar.console.guard import Guard
from sidecar.console.pages.render import page
from sidecar.console.pages.shells import shell


class EnvironmentViews:
    """Handlers of the page; ``api`` has its data."""

    def __init__(self, api: EnvironmentsApi) -> None:
        self._api = api

    def routes(self, guard: Guard) -> Iterable[web.RouteDef]:
        """Return the routes."""
        yield web.get("/environments", shell("environments"))
        yield web.get("/view/environments", guard.known(self.environments))

    async def environments(self, request: web.Request, caller: Caller) -> web.Response:
        """Show the environments that changed last."""
        found = await self._api.page(request.query.get("before", ""))
        moving = any(each["state"].is_moving for each in found["environments"])
        return page(
            request,
            "environments.html",
            found=found,
            moving=moving,
            may_manage=caller.may_manage,
        )

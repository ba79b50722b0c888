"""The public shells of all pages: a frame without data, which loads its content with a session.

A shell needs no session. So a browser whose session has ended shows a form to sign in, and a user
without the permission is shown the sidecar's reason, instead of JSON.
"""

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from sidecar.console.guard import Handler
from sidecar.console.pages.render import page

# Paths of the shells, and the entry of the navigation that each belongs to.
SHELLS: Final = {
    "/": "overview",
    "/services": "services",
    "/nodes": "nodes",
    "/nodes/{id}": "nodes",
    "/users": "users",
    "/users/{id}": "users",
    "/policies": "policies",
    "/policies/{digest}": "policies",
}
NAVIGATION: Final = tuple(dict.fromkeys(SHELLS.values()))
MORE: Final = web.AppKey("more", tuple[str, ...])
"""Entries of the navigation that the configuration adds."""


def shells() -> Iterable[web.RouteDef]:
    """Return the route of each shell."""
    return [web.get(path, shell(section)) for path, section in SHELLS.items()]


def shell(section: str) -> Handler:
    """Return the handler of a page without data."""

    async def show(request: web.Request) -> web.Response:
        navigation = (*NAVIGATION, *request.app[MORE])
        return page(request, "shell.html", section=section, navigation=navigation)

    return show

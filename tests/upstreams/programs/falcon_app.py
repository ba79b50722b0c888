"""Falcon's compiled router."""

from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

import falcon
from falcon.routing.compiled import UnacceptableRouteError

from tests.upstreams.programs.common import answer, by_path, rewrite
from tests.upstreams.scenario import Registered

VERSION = f"Falcon {version('falcon')}, gunicorn {version('gunicorn')}"

app = falcon.App()


def run(route: Registered, pattern: str) -> Callable[..., None]:
    """Return what one method of a resource does."""

    def method(_: object, __: falcon.Request, response: falcon.Response, **params: object) -> None:
        response.set_headers(answer(route, pattern, VERSION, params))

    return method


for path, routes in by_path().items():
    template = rewrite(path, "{NAME}", "{rest:path}")
    methods = {f"on_{method.lower()}": run(route, template) for method, route in routes.items()}
    with suppress(UnacceptableRouteError):  # it has no tail beside a field
        app.add_route(template, type("Resource", (), methods)())

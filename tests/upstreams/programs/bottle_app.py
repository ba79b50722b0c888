"""Bottle as its documentation shows it."""

from importlib.metadata import version

import bottle

from tests.upstreams.programs.common import answer, rewrite
from tests.upstreams.scenario import ROUTES, Registered

VERSION = f"Bottle {version('bottle')}, gunicorn {version('gunicorn')}"

app = bottle.Bottle()


def add(route: Registered) -> None:
    """Register one handler."""
    pattern = rewrite(route.path, "<NAME>", "<rest:path>")

    def handler(**params: object) -> str:
        for name, value in answer(route, pattern, VERSION, params).items():
            bottle.response.set_header(name, value)
        return ""

    app.route(pattern, method=route.method or "ANY", callback=handler)


for each in ROUTES:
    add(each)

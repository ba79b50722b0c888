"""aiohttp.web as its documentation shows it."""

import sys
from importlib.metadata import version

from aiohttp import web

from tests.upstreams.programs.common import answer, rewrite
from tests.upstreams.scenario import ROUTES, Registered

VERSION = f"aiohttp {version('aiohttp')}"

app = web.Application()


def add(route: Registered) -> None:
    """Register one handler."""
    pattern = rewrite(route.path, "{NAME}", "{rest:.*}")

    async def handler(request: web.Request) -> web.Response:
        return web.Response(headers=answer(route, pattern, VERSION, request.match_info))

    app.router.add_route(route.method or "*", pattern, handler)


for each in ROUTES:
    add(each)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)

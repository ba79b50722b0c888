"""Sanic as its documentation shows it."""

import sys
from typing import Any

import sanic

from tests.upstreams.programs.common import answer, methods_of, rewrite
from tests.upstreams.scenario import ROUTES, Registered

VERSION = f"Sanic {sanic.__version__}"

app = sanic.Sanic("upstream", log_config={"version": 1})


def add(route: Registered) -> None:
    """Register one handler."""
    pattern = rewrite(route.path, "<NAME>", "<rest:path>")

    async def handler(_: object, **params: object) -> Any:
        return sanic.empty(200, headers=answer(route, pattern, VERSION, params))

    app.add_route(handler, pattern, methods=methods_of(route), name=route.name)


for each in ROUTES:
    add(each)

if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), single_process=True, access_log=False, motd=False)

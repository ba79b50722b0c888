"""Tornado: regular expressions over the path as it came."""

import asyncio
import sys
from collections.abc import Callable
from importlib.metadata import version

from tornado.web import Application, RequestHandler

from tests.upstreams.programs.common import answer, by_path, rewrite
from tests.upstreams.scenario import Registered

VERSION = f"Tornado {version('tornado')}"


def run(route: Registered, pattern: str) -> Callable[..., None]:
    """Return what one method of a handler does."""

    def method(self: RequestHandler, **params: object) -> None:
        for name, value in answer(route, pattern, VERSION, params).items():
            self.set_header(name, value)

    return method


async def main() -> None:
    """Serve until terminated."""
    handlers = []
    for path, routes in by_path().items():
        pattern = rewrite(path, "(?P<NAME>[^/]+)", "(?P<rest>.*)")
        methods = {method.lower(): run(route, pattern) for method, route in routes.items()}
        handlers.append((pattern, type("Handler", (RequestHandler,), methods)))
    Application(handlers).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

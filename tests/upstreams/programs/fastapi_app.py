"""FastAPI as its documentation shows it."""

from importlib.metadata import version

from fastapi import FastAPI, Request, Response

from tests.upstreams.programs.common import answer, methods_of, rewrite
from tests.upstreams.scenario import ROUTES, Registered

VERSION = (
    f"FastAPI {version('fastapi')}, Starlette {version('starlette')}, uvicorn {version('uvicorn')}"
)

app = FastAPI(openapi_url=None)


def add(route: Registered) -> None:
    """Register one handler."""
    pattern = rewrite(route.path, "{NAME}", "{rest:path}")

    async def handler(request: Request) -> Response:
        return Response(headers=answer(route, pattern, VERSION, request.path_params))

    app.add_api_route(pattern, handler, methods=list(methods_of(route)))


for each in ROUTES:
    add(each)

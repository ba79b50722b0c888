"""Scripts and styles, read once. A browser keeps them, and asks each time whether they changed."""

import hashlib
from collections.abc import Iterable
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def static_routes() -> Iterable[web.RouteDef]:
    """Yield a route for each file of ``static/``, and for what the node's page shares."""
    own = (files("sidecar.console") / "static").iterdir()
    for file in (*own, files("sidecar.ops.page") / "static" / "base.css"):
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in TYPES:
            yield web.get(f"/static/{file.name}", _handler(file.read_bytes(), TYPES[suffix]))


def _handler(content: bytes, type_: str) -> Handler:
    tag = hashlib.sha256(content).hexdigest()[:16]
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}

    async def handler(request: web.Request) -> web.Response:
        if any(match.value == tag for match in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type=type_, charset="utf-8", headers=headers)

    return handler

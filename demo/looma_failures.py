"""Lets the stand-in for Looma fail on request, in the ways of a registry."""

import asyncio
import contextlib
from typing import Literal

from aiohttp import web

# error 500, unavailable 503 with Retry-After, forget 404, deny 401; the others as their names say.
Failure = Literal[
    "error", "unavailable", "forget", "deny", "redirect", "garbage", "huge", "hang", "close"
]

HUGE_BYTES = 100 * 1024 * 1024


def problem(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """Return an error in Looma's format."""
    body = {"success": False, "code": code, "message": message}
    return web.json_response(body, status=status, headers=headers)


async def fail(mode: Failure, request: web.Request) -> web.StreamResponse:
    """Fail in the way that ``mode`` names."""
    match mode:
        case "error":
            return problem(500, "INTERNAL", "fails on request")
        case "unavailable":
            return problem(503, "UNAVAILABLE", "fails on request", {"Retry-After": "2"})
        case "forget":
            return problem(404, "UNKNOWN_INSTANCE", "unknown instance")
        case "deny":
            return problem(401, "INVALID_TOKEN", "fails on request")
        case "redirect":
            return web.Response(status=307, headers={"Location": "/cluster/status"})
        case "garbage":
            return web.Response(body=b'{"ttl_seconds": "\xff', content_type="application/json")
        case "huge":
            return await _huge(request)
        case "hang":
            await asyncio.Event().wait()  # until the client gives up, which cancels this
        case "close":
            if request.transport is not None:
                request.transport.abort()
    return web.Response()


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(HUGE_BYTES)})
    piece = bytes(65536)
    with contextlib.suppress(ConnectionError):  # the client has read enough
        await response.prepare(request)
        for _ in range(HUGE_BYTES // len(piece)):
            await response.write(piece)
    return response

"""A stand-in for a Basic Server: it has no auth code, and shows the requests that reach it."""

from collections import deque
from typing import NamedTuple

from aiohttp import WSMsgType, web

_REMEMBERED = 1000  # requests
_MAX_FIELD = 65536  # bytes of a header: more than Envoy passes


class Received(NamedTuple):
    """One request as it arrived; ``headers`` in the order of arrival, doubles included."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str = ""

    def values(self, name: str) -> list[str]:
        """Every value of a header, its name in any case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class BasicServer:
    """An HTTP/1.1 server on loopback that answers with what it received, and echoes WebSockets.

    ``/health`` answers 200 or 503 with a boolean ``status``, as JobFirst's Basic Servers do;
    ``healthy`` switches it.
    """

    def __init__(self) -> None:
        self.healthy = True
        self.received: deque[Received] = deque(maxlen=_REMEMBERED)
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_route("*", "/{path:.*}", self._echo)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, max_field_size=_MAX_FIELD
        )

    async def start(self, port: int) -> None:
        """Listen on loopback. Raises OSError if the port is in use."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()

    async def stop(self) -> None:
        """Close every connection and end."""
        await self._runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": self.healthy}, status=200 if self.healthy else 503)

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            request.method,
            request.raw_path,
            tuple((_text(name), _text(value)) for name, value in request.raw_headers),
            (await request.read()).decode(errors="replace"),
        )
        self.received.append(received)
        if web.WebSocketResponse().can_prepare(request):
            return await _echo_messages(request, received)
        return web.json_response(_as_json(received))


async def _echo_messages(request: web.Request, received: Received) -> web.WebSocketResponse:
    """Send the handshake's request first, then echo messages."""
    socket = web.WebSocketResponse(protocols=("bearer",))
    await socket.prepare(request)
    await socket.send_json(_as_json(received))
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


def _as_json(received: Received) -> dict[str, object]:
    return {
        "method": received.method,
        "path": received.target,
        "headers": received.headers,
        "body": received.body,
    }


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")

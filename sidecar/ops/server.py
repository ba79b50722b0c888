"""The HTTP server of the ops address and the admin socket, on aiohttp.

It serves few connections and short requests, reads no body, logs nothing of a request and does not
name its software.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

from sidecar.ops.routes import OpsAnswer, Routes

_log = logging.getLogger(__name__)

# A scraper or two, the kubelet's probes, a person with curl. When all are in use, the connection
# without a request for the longest time is closed, so that no client can keep a probe out.
MAX_CONNECTIONS = 64
# Seconds without a complete request. A probe takes milliseconds; a scraper connects again.
IDLE_SECONDS = 10.0
MAX_LINE_BYTES = 4096
MAX_HEADERS = 64


class OpsServer:
    """Serves ``routes`` over HTTP/1.1 on listening sockets.

    ``moved`` maps paths of earlier versions to the message of their 404.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        routes: Routes,
        moved: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._sockets = sockets
        self._routes = routes
        self._moved = moved
        self._methods: dict[str, str] = {}
        for method, path in routes:
            allowed = "GET, HEAD" if method == "GET" else method
            known = self._methods.get(path)
            self._methods[path] = f"{known}, {allowed}" if known else allowed

        @web.middleware
        async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
            del handler  # aiohttp's 404: its router knows no routes
            return await self._handle(request)

        app = web.Application(middlewares=[handle])
        app.on_response_prepare.append(_set_headers)
        self._runner = web.AppRunner(app)
        self._listening: list[asyncio.Server] = []

    async def start(self) -> None:
        """Start to answer."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._listening.append(await loop.create_server(self.connection, sock=sock))

    async def close(self, grace: float = 1.0) -> None:
        """Stop accepting, give requests ``grace`` seconds to end, close all connections."""
        for server in self._listening:
            server.close()
        if (http := self._runner.server) is not None:
            http.pre_shutdown()
            await http.shutdown(grace)
        await self._runner.cleanup()

    def connection(self) -> asyncio.BaseProtocol:
        """Return the protocol of one more connection; call ``start`` before."""
        server = self._runner.server
        if server is None:
            raise RuntimeError("the server is not started")
        return _Connection(server, self._admit)

    def _admit(self) -> None:
        """Close the connection that is idle for the longest time if there are too many."""
        connections = self.connections
        open_ones = [each for each in connections if each.transport is not None]
        if len(open_ones) > MAX_CONNECTIONS:
            min(open_ones, key=lambda each: each.idleness).dismiss()

    @property
    def connections(self) -> "list[_Connection]":
        """Every connection of this server."""
        server = self._runner.server
        return [] if server is None else cast("list[_Connection]", server.connections)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        connection = cast("_Connection", request.protocol)
        with connection.request():
            response = await self._answer(request)
            await response.prepare(request)
            await response.write_eof()
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0]
        method = "GET" if request.method == "HEAD" else request.method
        route = self._routes.get((method, path))
        if route is not None:
            try:
                answer = await route()
            except Exception:  # noqa: BLE001 -- logged; the client learns nothing of it
                _log.exception("%s %s failed", method, path)
                answer = _error(500, "internal error")
        elif path in self._methods:
            answer = _error(405, "method not allowed")
        else:
            answer = _error(404, self._moved.get(path, "not found"))
        headers = {"Content-Type": answer.content_type}
        if answer.status == 405:
            headers["Allow"] = self._methods[path]
        return web.Response(status=answer.status, body=answer.body, headers=headers)


async def _set_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Set what every answer has, and remove the name of the software."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    del response.headers["Server"]


class _Connection(web.RequestHandler):
    """A connection whose answer to a malformed request repeats nothing of it."""

    def __init__(self, server: web.Server, admit: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # which aiohttp documents
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=0.0,  # a body is never read
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._admit = admit
        self._now = loop.time
        self._used = self._now()  # when the last request arrived
        self._answering = False

    @property
    def idleness(self) -> tuple[bool, float]:
        """Return its rank: the lowest is closed first when there are too many connections."""
        return self._answering, self._used

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count as in use within this."""
        self._used, self._answering = self._now(), True
        try:
            yield
        finally:
            self._answering = False

    def dismiss(self) -> None:
        """Close immediately and drop what is unsent."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the number of connections within its bound."""
        super().connection_made(transport)
        self._admit()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 -- aiohttp passes them by name
        message: str | None = None,  # noqa: ARG002 -- likewise
    ) -> web.StreamResponse:
        """Answer a request that cannot be parsed, or whose answer cannot be sent, and close.

        Written here, because aiohttp sends no signal for such a response and would add ``Server``.
        """
        transport = request.transport
        if transport is not None and not transport.is_closing():
            transport.write(_BAD_REQUEST if status < 500 else b"")
            transport.close()
        return web.Response(status=status)


_BAD_REQUEST = b"""\
HTTP/1.1 400 Bad Request\r
Content-Type: application/json\r
Content-Length: 24\r
Connection: close\r
\r
{"error":"bad request"}
"""


def _error(status: int, message: str) -> OpsAnswer:
    return OpsAnswer(status, b'{"error":"' + message.encode() + b'"}\n')

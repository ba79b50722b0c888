"""The ops HTTP server: few connections, short requests, no bodies, nothing of a request in a log.

On aiohttp's low-level server. It says nothing of itself but what the routes say.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from sidecar.ops.routes import OpsAnswer, Routes

_log = logging.getLogger(__name__)

# A scraper or two, the kubelet's probes, a person with curl. When all are taken, the connection
# without a request for the longest time is closed for the new one: nobody can keep a probe out.
MAX_CONNECTIONS = 64
# Without a whole request. A probe is over in milliseconds; a scraper connects again.
IDLE_SECONDS = 10.0
MAX_LINE_BYTES = 4096
MAX_HEADERS = 64


class OpsServer:
    """Serves ``routes`` over HTTP/1.1 on sockets that listen already.

    ``moved`` has the paths that were served once, each with what its 404 says.
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
        self._server = web.Server(self._answer, request_factory=self._request)
        self._listening: list[asyncio.Server] = []

    async def start(self) -> None:
        """Answer from now on."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._listening.append(await loop.create_server(self.connection, sock=sock))

    async def close(self, grace: float = 1.0) -> None:
        """Accept no more, let requests end for at most ``grace`` seconds, close all connections."""
        for server in self._listening:
            server.close()
        self._server.pre_shutdown()
        await self._server.shutdown(grace)

    def connection(self) -> asyncio.BaseProtocol:
        """Make the protocol of one more connection."""
        return _Connection(self._server, self._admit)

    def _admit(self) -> None:
        """Make room for a connection that was just made."""
        connections = cast("list[_Connection]", self._server.connections)
        open_ones = [each for each in connections if each.transport is not None]
        if len(open_ones) > MAX_CONNECTIONS:
            min(open_ones, key=lambda each: each.idleness).dismiss()

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        cast("_Connection", protocol).used = loop.time()
        return _Request(message, payload, protocol, writer, task, loop)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
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
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if answer.status == 405:
            headers["Allow"] = self._methods[path]
        headers["Content-Type"] = answer.content_type
        return web.Response(status=answer.status, body=answer.body, headers=headers)


class _Request(web.BaseRequest):
    """A request whose answer does not name the server's software."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        del response.headers["Server"]


class _Connection(web.RequestHandler):
    """A connection that repeats nothing of a malformed request."""

    def __init__(self, server: web.Server, admit: Callable[[], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # which aiohttp documents
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=0.0,  # a body is never read
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._admit = admit
        self.used = self._loop.time()  # when the last request came

    @property
    def idleness(self) -> tuple[bool, float]:
        """Rank a connection, the first to go when there are too many: no request, for longest."""
        return self._request_in_progress, self.used

    def dismiss(self) -> None:
        """Close at once, whatever is unsent."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the server count it."""
        super().connection_made(transport)
        self._admit()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature, and below
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 -- aiohttp calls it by these names
        message: str | None = None,  # noqa: ARG002 -- aiohttp calls it by these names
    ) -> web.StreamResponse:
        """Answer a request that could not be read."""
        answer = _error(status, "bad request" if status < 500 else "internal error")
        response = web.Response(status=status, body=answer.body, content_type=answer.content_type)
        response.force_close()
        return response


def _error(status: int, message: str) -> OpsAnswer:
    return OpsAnswer(status, b'{"error":"' + message.encode() + b'"}\n')

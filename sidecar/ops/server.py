"""The HTTP/1.1 server of the ops address, the admin socket and the node's page; h11 parses.

It serves few connections and short requests, reads no body, logs nothing of a request and does not
name its software.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

import h11

from sidecar.ops.routes import OpsAnswer, Routes

_log = logging.getLogger(__name__)

# A scraper or two, the kubelet's probes, a person with curl. When all are in use, the connection
# without a request for the longest time is closed, so that no client can keep a probe out.
MAX_CONNECTIONS: Final = 64
# Seconds for a whole request, idle time before it included, and for a client to read its answer.
# A probe takes milliseconds; a scraper connects again.
IDLE_SECONDS = 10.0
# Request line and header fields; also what one read returns. A browser's cookies fit.
MAX_HEAD_BYTES: Final = 16 * 1024

GET: Final = "GET, HEAD"
_VERSIONS: Final = (b"1.0", b"1.1")


class Asked(NamedTuple):
    """A request: ``path`` and ``query`` are its target as it is, header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


Answerer = Callable[[Asked], Awaitable[OpsAnswer]]


class HttpServer:
    """Serves what ``answer`` returns over HTTP/1.1 on listening sockets.

    ``headers`` are added to every answer, also to those of invalid requests.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        answer: Answerer,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._sockets = sockets
        self._answerer = answer
        self._headers = headers
        self._listening: list[asyncio.Server] = []
        self._closing = False
        self.connections: dict[_Connection, asyncio.Task[None]] = {}
        """Every open connection, and the task that serves it."""

    async def start(self) -> None:
        """Start to answer."""
        for sock in self._sockets:
            server = await asyncio.start_server(self.serve, sock=sock, limit=MAX_HEAD_BYTES)
            self._listening.append(server)

    async def close(self, grace: float = 1.0) -> None:
        """Stop accepting, give requests ``grace`` seconds to end, close all connections."""
        self._closing = True
        for server in self._listening:
            server.close()
        for connection in self.connections:
            if not connection.answering:
                connection.abort()
        tasks = list(self.connections.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        connection = _Connection(reader, writer, self._headers)
        task = asyncio.current_task()
        if self._closing or task is None:
            connection.abort()
            return
        if len(self.connections) >= MAX_CONNECTIONS:
            # Never the new one: clients that do not read their answers would keep a probe out.
            idle = min(self.connections, key=lambda each: each.idleness)
            del self.connections[idle]
            idle.abort()
        self.connections[connection] = task
        try:
            while await connection.answer(self._answer) and not self._closing:
                pass
        except (OSError, TimeoutError):
            pass  # the client left, or does not finish its request, or does not read its answer
        finally:
            self.connections.pop(connection, None)
            connection.abort()

    async def _answer(self, asked: Asked) -> OpsAnswer:
        try:
            return await self._answerer(asked)
        except Exception:  # noqa: BLE001 -- logged; the client learns nothing of it
            _log.exception("%s %s failed", asked.method, asked.path)
            return error(500, "internal error")


class OpsServer(HttpServer):
    """Serves ``routes``; ``moved`` maps paths of earlier versions to the message of their 404."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        routes: Routes,
        moved: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(sockets, self._routed)
        self._routes = routes
        self._moved = moved
        self._methods: dict[str, str] = {}
        for method, path in routes:
            allowed = GET if method == "GET" else method
            known = self._methods.get(path)
            self._methods[path] = f"{known}, {allowed}" if known else allowed

    async def _routed(self, asked: Asked) -> OpsAnswer:
        route = self._routes.get(("GET" if asked.method == "HEAD" else asked.method, asked.path))
        if route is not None:
            return await route()
        if asked.path in self._methods:
            return not_allowed(self._methods[asked.path])
        return error(404, self._moved.get(asked.path, "not found"))


class _Connection:
    """One connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: tuple[tuple[str, str], ...],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._headers = headers
        self._http = h11.Connection(h11.SERVER, MAX_HEAD_BYTES)
        self._used = time.monotonic()  # when the last request arrived
        self.answering = False
        writer.transport.set_write_buffer_limits(0)  # drain waits until all is sent

    @property
    def idleness(self) -> tuple[bool, float]:
        """Return its rank: the lowest is closed first when there are too many connections."""
        return self.answering, self._used

    def abort(self) -> None:
        """Close immediately and drop what is unsent."""
        self._writer.transport.abort()

    async def answer(self, answer: Answerer) -> bool:
        """Answer one request; return whether there may be another one.

        Raises OSError, and TimeoutError for a slow client.
        """
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                request = await self._request()
        except h11.RemoteProtocolError:
            await self._send(error(400, "bad request"), close=True)
            return False
        if request is None:
            return False
        self._used, self.answering = time.monotonic(), True
        try:
            asked = _asked(request)
            found = await answer(asked)
            reuse = self._http.their_state is h11.DONE
            await self._send(found, head=asked.method == "HEAD", close=not reuse)
        finally:
            self.answering = False
        if reuse:
            self._http.start_next_cycle()
        return reuse

    async def _request(self) -> h11.Request | None:
        """Return the next request; None at the end. Raises RemoteProtocolError.

        A body is not read: unless it is empty, the connection's state is not DONE after this.
        """
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                if event.http_version not in _VERSIONS:
                    raise h11.RemoteProtocolError("not HTTP/1")
                self._http.next_event()
                return event
            if isinstance(event, h11.ConnectionClosed):
                return None
            self._http.receive_data(await self._reader.read(MAX_HEAD_BYTES))

    async def _send(self, answer: OpsAnswer, *, head: bool = False, close: bool) -> None:
        headers = [
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *self._headers,
            *answer.headers,
        ]
        if close:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(answer.status).phrase
        events: list[h11.Event] = [
            h11.Response(status_code=answer.status, reason=reason, headers=headers)
        ]
        if not head:
            events.append(h11.Data(answer.body))
        events.append(h11.EndOfMessage())
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        async with asyncio.timeout(IDLE_SECONDS):
            await self._writer.drain()


def _asked(request: h11.Request) -> Asked:
    path, _, query = request.target.decode("latin-1").partition("?")
    headers: dict[str, str] = {}
    for name, value in request.headers:
        text = value.decode("latin-1")
        known = headers.get(name.decode())
        headers[name.decode()] = text if known is None else f"{known}, {text}"
    return Asked(request.method.decode(), path, query, headers)


def error(status: int, message: str) -> OpsAnswer:
    """Return an answer with an error; the message is ASCII without quotes."""
    return OpsAnswer(status, b'{"error":"' + message.encode() + b'"}\n')


def not_allowed(methods: str) -> OpsAnswer:
    """Return the answer to another method than these."""
    return error(405, "method not allowed")._replace(headers=(("Allow", methods),))

"""The gRPC server on one address: listening, draining, and the one timer."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable

from sidecar.transport.client_names import names_of
from sidecar.transport.h2.account import Budget
from sidecar.transport.h2.handshakes import Handshake, Handshakes
from sidecar.transport.h2.limits import CHECKS, DRAIN_NOTICE, PROBES, TICK
from sidecar.transport.h2.protocol import H2Protocol
from sidecar.transport.h2.turns import Turns
from sidecar.transport.interface import Listener, Methods, Tls
from sidecar.transport.sockets import BACKLOG, Listening, listen
from sidecar.transport.tls import server_context


class Server:
    """Serves ``methods`` on ``listener``. Satisfies ``Transport``."""

    def __init__(self, listener: Listener, methods: Methods) -> None:
        self._listener = listener
        self._methods = methods
        self._names = names_of(listener.tls)
        self._budget = Budget(PROBES if listener.probes else CHECKS)
        self._turns = Turns()
        self._listening: Listening | None = None
        self._handshakes: Handshakes | None = None  # with TLS
        self._servers: list[asyncio.AbstractServer] = []
        self._connections: set[H2Protocol] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._empty = asyncio.Event()  # set while no connection is open
        self._empty.set()

    async def start(self) -> str:
        """Listen; return the address as bound (a port of 0 resolved). Raises ListenError."""
        if self._listener.tls is not None:
            self._handshakes = Handshakes(server_context(self._listener.tls), self._connection)
        self._listening = await listen(
            self._listener.address, socket_mode=self._listener.socket_mode
        )
        self._servers = await self._serve(self._listening)
        self._tick()
        return self._listening.address

    async def idle(self) -> None:
        """Wait until no connection is left."""
        await self._empty.wait()

    async def renew(self, tls: Tls) -> None:
        """Serve new connections with these certificates; open ones continue. Raises ListenError."""
        context = server_context(tls)  # a new one: a client CA cannot be removed from a context
        self._names = names_of(tls)
        if self._handshakes is not None:
            self._handshakes.context = context

    async def drain(self, grace: float) -> None:
        """Stop listening, tell the peers, finish running calls within ``grace`` seconds.

        Sends two GOAWAYs (RFC 9113 6.8): requests that cross the first are served.
        """
        if self._listening is None:
            return
        self._draining = True
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._listening.close()
        if self._handshakes is not None:
            self._handshakes.abandon_all()
        now = asyncio.get_running_loop().time()
        steps = (
            (H2Protocol.announce_end, now + min(DRAIN_NOTICE, grace)),
            (H2Protocol.end, now + grace),
            (H2Protocol.abort, None),
        )
        for step, until in steps:
            for connection in list(self._connections):
                step(connection)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._empty.wait()
        if self._timer is not None:
            self._timer.cancel()

    async def _serve(self, listening: Listening) -> list[asyncio.AbstractServer]:
        loop = asyncio.get_running_loop()
        servers = []
        for sock in listening.sockets:
            create: Callable[..., Awaitable[asyncio.AbstractServer]] = (
                loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            )
            servers.append(await create(self._accepted, sock=sock, backlog=BACKLOG))
        return servers

    def _accepted(self) -> asyncio.Protocol:
        return self._connection() if self._handshakes is None else Handshake(self._handshakes)

    def _connection(self) -> H2Protocol:
        return H2Protocol(self._methods, self._budget, self._turns, self._opened, self._closed)

    def _opened(self, connection: H2Protocol) -> bool:
        if self._draining:
            return False
        if self._names is not None and not self._names.admit_peer(connection.peer_certificate):
            return False
        if len(self._connections) >= self._budget.limits.connections:
            idlest = min(self._connections, key=lambda each: each.idleness)
            self._connections.discard(idlest)
            idlest.dismiss()
        self._connections.add(connection)
        self._empty.clear()
        return True

    def _closed(self, connection: H2Protocol) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _tick(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections):
            connection.tick(now)
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

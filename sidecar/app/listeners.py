"""The addresses of ``listen`` and the servers behind them."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.ops.readiness import Health
from sidecar.ops.routes import MOVED, Routes
from sidecar.ops.server import OpsServer
from sidecar.transport.health import health_methods
from sidecar.transport.interface import Listener, ListenError, Methods, Tls, Transport
from sidecar.transport.sockets import Listening, listen

if TYPE_CHECKING:
    from sidecar.app.page import NodePage

STOP_SECONDS = 1.0  # for calls and connections that are open when the draining ends

_log = logging.getLogger(__name__)


class Listeners:
    """Starts the servers, renews their certificates and stops them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._certificates: Tls | None = None
        self._servers: list[Transport] = []
        self._stopping: list[Callable[[float], Awaitable[None]]] = []

    async def start(
        self, stack: contextlib.AsyncExitStack, checks: Methods, source: Health, routes: Routes
    ) -> None:
        """Serve ``listen.authz``, ``health`` and ``ops`` until ``stack`` closes.

        Raises ListenError.
        """
        addresses = self._config.settings.listen
        self._certificates = wiring.certificates(self._config)
        stack.push_async_callback(self._stop)
        health = health_methods(source)
        both = checks._replace(
            unary={**checks.unary, **health.unary}, streams={**checks.streams, **health.streams}
        )
        await self._serve("authz", addresses.authz, both)
        if addresses.health is not None:
            await self._serve("health", addresses.health, health)
        ops = await self._listen(stack, "ops", addresses.ops)
        server = OpsServer(ops.sockets, routes, MOVED)
        await server.start()
        self._stopping.append(server.close)

    async def start_admin(self, stack: contextlib.AsyncExitStack, routes: Routes) -> None:
        """Serve ``listen.admin`` until ``stack`` closes. Raises ListenError."""
        from sidecar.ops.admin import SOCKET_MODE, AdminServer  # where it is configured

        address = self._config.settings.listen.admin or ""
        admin = await self._listen(stack, "admin", address, SOCKET_MODE)
        server = AdminServer(admin.sockets, routes)
        await server.start()
        self._stopping.append(server.close)

    async def start_page(self, stack: contextlib.AsyncExitStack, page: "NodePage") -> None:
        """Serve ``listen.page`` until ``stack`` closes. Raises ListenError."""
        address = self._config.settings.listen.page or ""
        server = page.server(await self._listen(stack, "page", address))
        await server.start()
        self._stopping.append(server.close)
        stack.callback(asyncio.create_task(page.watch()).cancel)

    async def idle(self) -> None:
        """Wait until Envoy's connections are closed."""
        await asyncio.gather(*(server.idle() for server in self._servers))

    async def renew_certificates(self) -> None:
        """Read the files of ``listen.tls`` again; unusable ones change nothing."""
        try:
            certificates = await asyncio.to_thread(wiring.certificates, self._config)
            if certificates is None or certificates == self._certificates:
                return
            for server in self._servers:
                await server.renew(certificates)
        except ListenError as error:
            _log.error("listen.tls: the former certificates are kept: %s", error)
        else:
            self._certificates = certificates
            _log.info("listen.tls: new connections get the new certificates")

    async def _serve(self, key: str, address: str, methods: Methods) -> None:
        settings = self._config.settings.listen
        listener = Listener(
            address, self._certificates, settings.socket_mode, probes=key == "health"
        )
        server = _transport(settings.transport, listener, methods)
        try:
            bound = await server.start()
        except ListenError as error:
            raise ListenError(f"listen.{key}: {error}") from None
        self._stopping.append(server.drain)
        self._servers.append(server)
        _log.info("listen.%s: %s", key, bound)

    async def _listen(
        self, stack: contextlib.AsyncExitStack, key: str, address: str, mode: int = 0
    ) -> Listening:
        try:
            listening = await listen(address, socket_mode=mode)
        except ListenError as error:
            raise ListenError(f"listen.{key}: {error}") from None
        stack.callback(listening.close)
        _log.info("listen.%s: %s", key, listening.address)
        return listening

    async def _stop(self) -> None:
        """Stop all servers at the same time: it takes as long as the slowest."""
        await asyncio.gather(*(stop(STOP_SECONDS) for stop in self._stopping))


def _transport(name: str, listener: Listener, methods: Methods) -> Transport:
    """Return the transport of that name; each is imported where it is chosen."""
    if name == "h2":
        from sidecar.transport.h2 import Server as H2Server

        return H2Server(listener, methods)
    from sidecar.transport.grpcio import Server as GrpcioServer

    return GrpcioServer(listener, methods)

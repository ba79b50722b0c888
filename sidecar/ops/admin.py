"""The admin socket: what changes state, for the sidecar's own user and root.

Loopback is no authentication: pages in a browser and an upstream that is made to send requests
(SSRF) reach it. They do not reach a unix socket.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Sequence
from functools import partial

from sidecar.ops.routes import Routes
from sidecar.ops.server import OpsServer

_log = logging.getLogger(__name__)

SOCKET_MODE = 0o600  # whatever listen.socket_mode is: that one is for Envoy
_CREDENTIALS = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid


class AdminServer:
    """Serves ``routes`` on unix sockets that listen already, with the ops server's bounds.

    The kernel tells each peer's uid (SO_PEERCRED of unix(7), as it was at its connect); any other
    than the sidecar's own and root's is sent away without an answer.
    """

    def __init__(self, sockets: Sequence[socket.socket], routes: Routes) -> None:
        self._sockets = sockets
        self._http = OpsServer((), routes)
        self._listening: list[asyncio.Server] = []

    async def start(self) -> None:
        """Start to answer."""
        await self._http.start()
        loop = asyncio.get_running_loop()
        admit = partial(_Gate, self._http)
        for sock in self._sockets:
            self._listening.append(await loop.create_unix_server(admit, sock=sock))

    async def close(self, grace: float = 1.0) -> None:
        """Accept no more, let requests end for at most ``grace`` seconds, close all connections."""
        for server in self._listening:
            server.close()
        await self._http.close(grace)


class _Gate(asyncio.Protocol):
    """A connection before it is known whose it is."""

    def __init__(self, http: OpsServer) -> None:
        self._http = http

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection on to the HTTP server, or end it."""
        options = socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        peer = transport.get_extra_info("socket").getsockopt(*options)
        _, uid, _ = _CREDENTIALS.unpack(peer)
        if uid not in (0, os.geteuid()):
            _log.warning("listen.admin: a connection of uid %d is refused", uid)
            transport.close()
            return
        protocol = self._http.connection()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

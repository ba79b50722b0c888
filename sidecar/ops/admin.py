"""The admin socket: commands that change state, for the sidecar's own user and root.

Loopback does not authenticate: web pages in a browser and an upstream with an SSRF hole can reach
it. They cannot reach a unix socket.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Sequence

from sidecar.ops.routes import Routes
from sidecar.ops.server import MAX_HEAD_BYTES, OpsServer

_log = logging.getLogger(__name__)

SOCKET_MODE = 0o600  # listen.socket_mode is for Envoy's socket
_CREDENTIALS = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid


class AdminServer:
    """Serves ``routes`` on listening unix sockets, with the bounds of the ops server.

    The kernel reports each peer's uid at its connect (SO_PEERCRED, unix(7)). The connection of any
    uid except root's and the sidecar's own is closed without an answer.
    """

    def __init__(self, sockets: Sequence[socket.socket], routes: Routes) -> None:
        self._sockets = sockets
        self._http = OpsServer((), routes)
        self._listening: list[asyncio.Server] = []

    async def start(self) -> None:
        """Start to answer."""
        await self._http.start()
        for sock in self._sockets:
            server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_HEAD_BYTES)
            self._listening.append(server)

    async def close(self, grace: float = 1.0) -> None:
        """Stop accepting, give requests ``grace`` seconds to end, close all connections."""
        for server in self._listening:
            server.close()
        await self._http.close(grace)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Check who the peer is, and serve it or close the connection."""
        options = socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        peer = writer.get_extra_info("socket").getsockopt(*options)
        _, uid, _ = _CREDENTIALS.unpack(peer)
        if uid in (0, os.geteuid()):
            await self._http.serve(reader, writer)
        else:
            _log.warning("listen.admin: refused a connection from uid %d", uid)
            writer.transport.abort()

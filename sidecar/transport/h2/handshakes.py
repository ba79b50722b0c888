"""TLS handshakes: few at a time; the oldest is closed for the next.

With ``ssl=`` of asyncio's servers the application does not see these connections until the
handshake ends, each with 256 KiB of buffers.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from sidecar.transport.h2.limits import HANDSHAKE_TIMEOUT, MAX_HANDSHAKES


class Handshakes:
    """The unfinished handshakes of one server; ``new`` makes the protocol for a finished one.

    ``context`` may be replaced; the next handshakes use the new one.
    """

    def __init__(self, context: ssl.SSLContext, new: Callable[[], asyncio.Protocol]) -> None:
        self.context = context
        self._new = new
        self._begun: dict[asyncio.Task[None], None] = {}  # the oldest first

    def __len__(self) -> int:
        """Return how many are unfinished."""
        return len(self._begun)

    def begin(self, connection: socket.socket) -> None:
        """Begin a handshake on a connection that was just accepted."""
        if len(self._begun) >= MAX_HANDSHAKES:
            self._abandon(next(iter(self._begun)))
        task = asyncio.get_running_loop().create_task(self._finish(connection))
        self._begun[task] = None
        task.add_done_callback(lambda done: self._begun.pop(done, None))

    def abandon_all(self) -> None:
        """Close all their connections."""
        for task in list(self._begun):
            self._abandon(task)

    def _abandon(self, task: asyncio.Task[None]) -> None:
        del self._begun[task]
        task.cancel()

    async def _finish(self, connection: socket.socket) -> None:
        loop, done = asyncio.get_running_loop(), False
        try:
            await loop.connect_accepted_socket(
                self._new, connection, ssl=self.context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT
            )
            done = True
        except OSError:  # the peer failed or left; ssl.SSLError is an OSError
            pass
        finally:
            if not done:
                connection.close()


class Handshake(asyncio.Protocol):
    """A connection on which no handshake has begun yet."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection over, before anything is read from it; close it if that fails."""
        try:
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:  # too many open files: it must not stay open without a timeout
            return
        finally:
            transport.abort()  # type: ignore[attr-defined]  # -- it closes only its own descriptor
        self._handshakes.begin(socket.socket(fileno=descriptor))

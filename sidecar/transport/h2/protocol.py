"""A connection on asyncio: everything that one read brought is answered by one write."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from sidecar.transport.h2.calls import Calls
from sidecar.transport.h2.connection import Connection
from sidecar.transport.h2.limits import CLOSE_TIMEOUT, MAX_READ, SEND_TIMEOUT
from sidecar.transport.h2.stream import Budget
from sidecar.transport.interface import Methods


class H2Protocol(asyncio.Protocol):
    """One peer. ``opened`` and ``closed`` tell the server, which calls ``tick``."""

    _transport: asyncio.Transport

    def __init__(
        self,
        methods: Methods,
        budget: Budget,
        opened: Callable[["H2Protocol"], bool],
        closed: Callable[["H2Protocol"], None],
    ) -> None:
        self._connection = Connection(budget, time.monotonic())
        self._calls = Calls(methods, self._connection, self._flush)
        self._opened = opened
        self._closed = closed
        self._unread = b""
        self._paused = False
        self._closing = False
        self._stuck_since: float | None = None  # the peer does not read, or does not close

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer (RFC 9113 3.4)."""
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if not self._opened(self) or (tls is not None and tls.selected_alpn_protocol() != "h2"):
            self._transport.abort()  # too many; or not HTTP/2 (3.2)
            return
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Serve what arrived, as long as the peer takes the answers."""
        self._calls.arrived = time.monotonic()
        if self._unread or len(data) > MAX_READ:
            self._unread += data
            self._read_on()
        else:
            self._serve(data)

    def _read_on(self) -> None:
        while self._unread and not self._paused:
            piece, self._unread = self._unread[:MAX_READ], self._unread[MAX_READ:]
            self._serve(piece)

    def _serve(self, data: bytes) -> None:
        handle = self._calls.handle
        for event, stream in self._connection.receive(data, time.monotonic()):
            handle(event, stream)
        self._flush()

    def tick(self, now: float) -> None:
        """See to what takes too long."""
        if self._stuck_since is not None:
            patience = CLOSE_TIMEOUT if self._closing else SEND_TIMEOUT
            if now - self._stuck_since > patience:
                self._transport.abort()
            return
        for event, stream in self._connection.tick(now):
            self._calls.handle(event, stream)
        self._flush()

    def announce_end(self) -> None:
        """Say that the server will go: no new streams, please."""
        self._connection.announce_end()
        self._flush()

    def end(self) -> None:
        """Take no new stream; close after the last one."""
        self._connection.end()
        self._calls.end_streams()
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def pause_writing(self) -> None:
        """Read no more from a peer that does not read, so that nothing piles up for it."""
        self._paused = True
        self._stuck_since = time.monotonic()
        self._transport.pause_reading()
        self._calls.pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        if not self._closing:
            self._stuck_since = None
        self._transport.resume_reading()
        self._calls.resume()
        self._read_on()

    def connection_lost(self, _error: Exception | None) -> None:
        """Free what the peer held."""
        self._closing = True
        self._connection.lost()
        self._calls.cancel_all()
        self._closed(self)

    def _flush(self) -> None:
        if self._closing:
            return
        data = self._connection.take()
        if data:
            self._transport.write(data)
        if self._connection.done:
            self._close()

    def _close(self) -> None:
        """Close so that the peer gets everything: with bytes of its own unread, it might not."""
        self._closing = True
        self._stuck_since = time.monotonic()
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()  # it closes then, or is closed after CLOSE_TIMEOUT
        except OSError:  # asyncio's own loop: the peer was faster
            self._transport.abort()

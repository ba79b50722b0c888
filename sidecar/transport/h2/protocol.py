"""A connection on asyncio, and the calls on it: what one read brought is answered by one write."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from traceback import extract_tb
from typing import cast

from sidecar.transport.h2.connection import Connection
from sidecar.transport.h2.grpc import SUCCESS, Head, Status, message_of, status
from sidecar.transport.h2.limits import CLOSE_TIMEOUT, MAX_READ, SEND_TIMEOUT
from sidecar.transport.h2.sending import Budget, Stream
from sidecar.transport.interface import Methods, RpcError

_log = logging.getLogger(__name__)


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
        self._methods = methods
        self._connection = Connection(budget, time.monotonic())
        self._opened = opened
        self._closed = closed
        self._arrived = 0.0  # when what is being served was read
        self._unread = b""
        self._paused = False  # the peer does not read
        self._moved = asyncio.Event()  # server streams that wait may look again
        self._closing = False
        self._abort_at: float | None = None  # unless the peer reads, or closes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer (RFC 9113 3.4)."""
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if not self._opened(self) or (tls is not None and tls.selected_alpn_protocol() != "h2"):
            self._transport.abort()  # too many; or not HTTP/2 (3.2)
        else:
            self._flush()

    def data_received(self, data: bytes) -> None:
        """Serve what arrived, as long as the peer takes the answers."""
        self._arrived = time.monotonic()
        self._unread += data
        self._read_on()

    def pause_writing(self) -> None:
        """Read no more from a peer that does not read, so that nothing piles up for it."""
        self._paused = True
        self._abort_at = time.monotonic() + SEND_TIMEOUT
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        if not self._closing:
            self._abort_at = None
        self._transport.resume_reading()
        self._moved.set()
        self._read_on()

    def connection_lost(self, _error: Exception | None) -> None:
        """Free what the peer held."""
        self._closing = True
        self._see_to(self._connection.lost())
        self._closed(self)

    def tick(self, now: float) -> None:
        """See to what takes too long."""
        if self._abort_at is None:
            self._see_to(self._connection.tick(now))
        elif now > self._abort_at:
            self.abort()

    def announce_end(self) -> None:
        """Say that the server will go: no new streams, please."""
        self._connection.announce_end()
        self._flush()

    def end(self) -> None:
        """Take no new stream; end those that have no end of their own; close after the last."""
        self._connection.end()
        draining = RpcError(Status.UNAVAILABLE, "the server is draining")
        for stream in list(self._connection.streams.values()):
            if stream.cancel is not None and stream.head.path in self._methods.streams:
                self._cut_short(stream, draining)
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _read_on(self) -> None:
        while self._unread and not self._paused:
            piece, self._unread = self._unread[:MAX_READ], self._unread[MAX_READ:]
            self._see_to(self._connection.receive(piece, time.monotonic()))

    def _see_to(self, streams: list[Stream]) -> None:
        for stream in streams:
            if stream.ending is None:
                self._serve(stream, stream.head)
            elif stream.cancel is not None:
                stream.cancel()
        self._moved.set()
        self._flush()

    def _flush(self) -> None:
        if self._closing:
            return
        if data := self._connection.take():
            self._transport.write(data)
        if self._connection.done:
            self._close()

    def _close(self) -> None:
        """Close so that the peer gets everything: with bytes of its own unread, it might not."""
        self._closing = True
        self._abort_at = time.monotonic() + CLOSE_TIMEOUT
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()  # it closes then, or is aborted
        except OSError:  # asyncio's own loop: the peer was faster
            self.abort()

    def _serve(self, stream: Stream, head: Head) -> None:
        if head.refusal is not None:
            self._connection.finish(stream, b"", head.refusal)
            return
        # The time that a caller gives runs from the read on, however long those before it take.
        deadline = None if head.timeout is None else self._arrived + head.timeout
        try:
            answer = self._ask(stream, head, deadline)
            if isinstance(answer, bytes):
                self._connection.answer(stream, answer)
            else:
                self._wait_for(stream, answer, deadline)
        except Exception as error:  # noqa: BLE001 -- it is the caller's to know, and no one else's
            self._fail(stream, error)

    def _ask(
        self, stream: Stream, head: Head, deadline: float | None
    ) -> bytes | Awaitable[bytes | None]:
        """Ask the method that a request names. Raises RpcError, and what the method raises."""
        body, stream.body = stream.body, b""  # one copy is enough, however long the method takes
        if body is None and head.path in self._methods.oversized:
            return self._methods.oversized[head.path]
        if unary := self._methods.unary.get(head.path):
            return unary(message_of(body, encoded=head.encoded), deadline)
        if server_stream := self._methods.streams.get(head.path):
            messages = server_stream(message_of(body, encoded=head.encoded))
            return self._send_all(stream, messages)
        raise RpcError(Status.UNIMPLEMENTED, "unknown method")

    async def _send_all(self, stream: Stream, messages: AsyncIterator[bytes]) -> None:
        async for message in messages:
            if stream.ending is not None:
                return  # it is over, and the method takes no notice of its cancellation
            self._connection.send(stream, message)
            self._flush()
            while stream.pending or self._paused:
                self._moved.clear()
                await self._moved.wait()
        self._connection.finish(stream, SUCCESS)

    def _wait_for(
        self, stream: Stream, answer: Awaitable[bytes | None], deadline: float | None
    ) -> None:
        task = asyncio.ensure_future(answer)
        stream.cancel = task.cancel
        expiry = None
        if deadline is not None:
            late = RpcError(Status.DEADLINE_EXCEEDED, "the deadline has passed")
            expiry = task.get_loop().call_at(deadline, self._cut_short, stream, late)
        task.add_done_callback(partial(self._finished, stream, expiry))

    def _finished(
        self,
        stream: Stream,
        expiry: asyncio.TimerHandle | None,
        task: "asyncio.Future[bytes | None]",
    ) -> None:
        if expiry is not None:
            expiry.cancel()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        answer = None if error is not None else task.result()
        if stream.ending is None:  # else a server stream has ended, or the caller has left
            if isinstance(answer, bytes):
                self._connection.answer(stream, answer)
            else:
                self._fail(stream, error or TypeError("no bytes"))
        self._flush()

    def _cut_short(self, stream: Stream, why: RpcError) -> None:
        if stream.ending is None:
            self._fail(stream, why)
        if stream.cancel is not None:
            stream.cancel()
        self._flush()

    def _fail(self, stream: Stream, error: BaseException) -> None:
        """End an answer by an error: nothing of its text is told, unless that is meant so."""
        if not isinstance(error, RpcError):
            where = " < ".join(
                f"{frame.name}:{frame.lineno}"
                for frame in reversed(extract_tb(error.__traceback__))
            )
            _log.error("%s failed: %s in %s", stream.head.path, type(error).__name__, where)
            error = RpcError(Status.INTERNAL, "internal error")
        self._connection.finish(stream, status(error))

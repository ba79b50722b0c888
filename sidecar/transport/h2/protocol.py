"""A connection on asyncio, and the calls of its requests."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast

from sidecar.net.logs import fault_place
from sidecar.transport.h2 import rpc
from sidecar.transport.h2.account import Budget
from sidecar.transport.h2.connection import Connection
from sidecar.transport.h2.limits import ANSWERS_A_WRITE, CLOSE_TIMEOUT, SEND_TIMEOUT
from sidecar.transport.h2.stream import Stream
from sidecar.transport.h2.turns import Turns
from sidecar.transport.interface import Methods, RpcError

_log = logging.getLogger(__name__)

_Answer = bytes | Awaitable[bytes]


class H2Protocol(asyncio.Protocol):
    """One peer. It calls ``opened`` and ``closed``; the server calls ``tick``."""

    _transport: asyncio.Transport

    def __init__(
        self,
        methods: Methods,
        budget: Budget,
        turns: Turns,
        opened: Callable[["H2Protocol"], bool],
        closed: Callable[["H2Protocol"], None],
    ) -> None:
        self._methods = methods
        self._connection = Connection(budget, time.monotonic())
        self._sender = self._connection.sender
        self._turn, self._in_turn = budget.limits.turn, budget.limits.in_turn
        self._turns = turns
        self._opened = opened
        self._closed = closed
        self._unread = b""  # input that the connection has not received yet
        self._arrived = 0.0  # when it arrived
        self._requests: list[Stream] = []  # read and not yet answered, in order
        self._behind = self._in_turn  # new input waits until earlier input is processed
        self._waits = False  # queued in ``Turns``
        self._reading = True
        self._paused = False  # the write buffer is full: the peer does not read
        self._calls = 0  # unary calls in progress
        self._moved = asyncio.Event()  # wakes server streams that wait for a window
        self._closing = False
        self._abort_at: float | None = None  # cleared when the peer reads; None: no limit

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The peer's verified certificate as a dictionary of ``ssl``, None if it sent none."""
        certificate: dict[str, Any] | None = self._transport.get_extra_info("peercert")
        return certificate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our SETTINGS (RFC 9113 3.4)."""
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if not self._opened(self) or (tls is not None and tls.selected_alpn_protocol() != "h2"):
            self._transport.abort()  # too many; or not HTTP/2 (3.2)
            return
        if tls is None:
            # Output is written immediately, not in the event loop's next round. It is buffered, and
            # writing is paused, only when the kernel's buffer is full.
            self._transport.set_write_buffer_limits(high=0)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Serve input, as long as the peer reads the answers and its turn lasts."""
        if self._closing:
            return  # nothing is sent after the last frame
        # A call's timeout starts here, however long earlier calls take.
        self._arrived = now = time.monotonic()
        if self._behind:
            self._unread += data
            self._arrange()
            return
        streams = self._connection.receive(data, now)
        if len(streams) > ANSWERS_A_WRITE or self._connection.unread:
            self._requests = streams
            self._work(now)
            self._arrange()
            return
        self._handle(streams)
        self._flush()

    def take_turn(self) -> bool:
        """Continue with the remaining work; return whether more is left."""
        if not (self._paused or self._closing):
            self._work(time.monotonic())
        self._waits = False
        return self._arrange(requested=True)

    def pause_writing(self) -> None:
        """Stop reading from a peer that does not read, so that no output accumulates."""
        self._paused = True
        self._abort_at = time.monotonic() + SEND_TIMEOUT
        self._arrange()

    def resume_writing(self) -> None:
        """Continue."""
        self._paused = False
        now = time.monotonic()
        self._connection.resumed(now)
        if not self._closing:
            self._abort_at = None
            self.tick(now)  # so that timeouts start now
        self._moved.set()
        self._arrange()

    def connection_lost(self, _error: Exception | None) -> None:
        """Free what the peer held."""
        self._closing = True
        self._requests = []
        self._unread = b""
        self._handle(self._connection.lost())
        self._closed(self)

    def tick(self, now: float) -> None:
        """Apply timeouts."""
        if self._abort_at is None:
            self._handle(self._connection.tick(now))
            self._flush()
        elif now > self._abort_at:
            self.abort()

    def announce_end(self) -> None:
        """Send the first GOAWAY of a drain: the peer opens no more streams."""
        self._connection.announce_end()
        self._flush()

    def end(self) -> None:
        """Refuse new streams, end server streams, close after the last call."""
        self._connection.end()
        draining = RpcError(rpc.UNAVAILABLE, "the server is draining")
        for stream in list(self._connection.streams.values()):
            if stream.cancel is not None and stream.head.path in self._methods.streams:
                self._cut_short(stream, draining)
        self._flush()

    @property
    def idleness(self) -> tuple[bool, float]:
        """Rank connections: the lowest is closed when there are too many."""
        return self._calls > 0, self._connection.used

    def dismiss(self) -> None:
        """Send GOAWAY and close immediately: a new connection needs the place."""
        self.end()
        self.abort()

    def abort(self) -> None:
        """Close immediately."""
        self._transport.abort()

    def _arrange(self, *, requested: bool = False) -> bool:
        """Request a turn if there is work, unless it is ``requested``; return whether there is.

        Without work, resume reading if the peer reads too.
        """
        some = self._requests or self._unread or self._connection.unread
        left = bool(some) and not self._closing
        self._behind = left or self._in_turn
        work = left and not self._paused
        if work and not self._waits:
            self._waits = True
            if not requested:
                self._turns.request(self)
        reading = not (left or self._paused)
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
        return work

    def _work(self, now: float) -> None:
        """Answer and read until the turn ends."""
        connection, end = self._connection, now + self._turn
        while not self._paused:
            if not self._requests:
                octets, self._unread = self._unread, b""
                self._requests = connection.receive(octets, self._arrived)
            batch = self._requests[:ANSWERS_A_WRITE]
            self._requests = self._requests[ANSWERS_A_WRITE:]
            self._handle(batch)
            self._flush()
            if not (self._requests or connection.unread) or time.monotonic() > end:
                break

    def _handle(self, streams: list[Stream]) -> None:
        for stream in streams:
            if stream.ending is None:
                self._reply(stream)
            elif stream.cancel is not None:
                stream.cancel()

    def _flush(self) -> None:
        if self._closing or (self._requests and self._connection.done):
            return  # GOAWAY is sent after their answers
        if self._sender.moved:
            self._sender.moved = False
            self._moved.set()
        if data := self._sender.take():
            self._transport.write(data)
        if self._connection.done:
            self._close()

    def _close(self) -> None:
        """Close without losing output: with unread input, the kernel would send a reset."""
        self._closing = True
        self._abort_at = time.monotonic() + CLOSE_TIMEOUT
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()  # the peer closes then, or ``tick`` aborts
        except OSError:  # asyncio's own loop: the peer closed first
            self.abort()

    def _reply(self, stream: Stream, awaited: "asyncio.Future[bytes] | None" = None) -> None:
        """Answer with what the method returns or raises, or with the ``awaited`` result."""
        try:
            answer = self._call(stream) if awaited is None else awaited.result()
            if stream.ending is not None:
                pass  # a server stream has ended, or the caller has cancelled
            elif isinstance(answer, bytes):
                self._sender.answer(stream, answer)
            else:
                self._wait_for(stream, answer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- the caller gets a status
            if stream.ending is None:
                self._fail(stream, error)

    def _call(self, stream: Stream) -> _Answer:
        """Call the method that a request names. Raises RpcError and what the method raises."""
        head = stream.head
        body, stream.body = stream.body, b""  # keep only one copy while the method works
        if body is None and head.path in self._methods.oversized:
            return self._methods.oversized[head.path]
        if unary := self._methods.unary.get(head.path):
            return unary(rpc.message_of(body, head.encoded), stream.deadline)
        if traced := self._methods.traced.get(head.path):
            message = rpc.message_of(body, head.encoded)
            return traced(message, stream.deadline, head.trace)
        if server_stream := self._methods.streams.get(head.path):
            messages = server_stream(rpc.message_of(body, head.encoded))
            return self._send_all(stream, messages)
        raise RpcError(rpc.UNIMPLEMENTED, "unknown method")

    async def _send_all(self, stream: Stream, messages: AsyncIterator[bytes]) -> bytes:
        async for message in messages:
            if stream.ending is not None:
                break  # the stream ended, and the method ignored its cancellation
            self._sender.send(stream, message)
            self._flush()
            while stream.pending or self._paused:
                self._moved.clear()
                await self._moved.wait()
        self._sender.finish(stream, rpc.SUCCESS)
        return b""  # no message follows

    def _wait_for(self, stream: Stream, answer: Awaitable[bytes]) -> None:
        task = asyncio.ensure_future(answer)
        self._connection.wait(stream, task.cancel)
        if stream.head.path not in self._methods.streams:
            self._calls += 1
            task.add_done_callback(self._count_down)
        task.add_done_callback(partial(self._finished, stream))
        if stream.deadline is not None:
            late = RpcError(rpc.DEADLINE_EXCEEDED, "the deadline has passed")
            expiry = task.get_loop().call_at(stream.deadline, self._cut_short, stream, late)
            task.add_done_callback(lambda _: expiry.cancel())

    def _count_down(self, _: object) -> None:
        self._calls -= 1

    def _finished(self, stream: Stream, task: "asyncio.Future[bytes]") -> None:
        self._reply(stream, task)
        self._flush()

    def _cut_short(self, stream: Stream, why: RpcError) -> None:
        self._sender.finish(stream, rpc.status(why))
        if stream.cancel is not None:
            stream.cancel()
        self._flush()

    def _fail(self, stream: Stream, error: BaseException) -> None:
        """End an answer with an error; the peer sees its text only if it is an RpcError."""
        if not isinstance(error, RpcError):
            _log.error("%s failed: %s", stream.head.path, fault_place(error))
            error = RpcError(rpc.INTERNAL, "internal error")
        self._sender.finish(stream, rpc.status(error))

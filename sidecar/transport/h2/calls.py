"""The calls of one connection: from a complete request to the answer of its method."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from traceback import extract_tb
from typing import NamedTuple

from sidecar.transport.h2.answers import (
    RESPONSE,
    TRAILERS,
    Status,
    message_of,
    trailers,
    trailers_only,
)
from sidecar.transport.h2.connection import Connection
from sidecar.transport.h2.head import Head
from sidecar.transport.h2.stream import Event, Stream
from sidecar.transport.interface import Methods, RpcError

_log = logging.getLogger(__name__)


class _Call(NamedTuple):
    """A call that could not be answered at once."""

    task: asyncio.Future[bytes | None]
    expiry: asyncio.TimerHandle | None


class Calls:
    """Serves the streams of a connection by ``methods``; ``flush`` sends what is answered later.

    ``arrived`` (seconds of ``time.monotonic()``) is when what is being served was read: the time
    that a caller gives runs from then on, however long those before it take.
    """

    def __init__(self, methods: Methods, connection: Connection, flush: Callable[[], None]) -> None:
        self._methods = methods
        self._streams = connection.streams
        self._out = connection.out
        self._flush = flush
        self._running: dict[int, _Call] = {}
        self._ended: dict[int, RpcError] = {}  # running calls that were cut short, and why
        self.arrived = 0.0
        self._paused = False  # the peer does not read
        self._waiting: dict[int, asyncio.Future[None]] = {}  # server streams that may send no more

    def handle(self, event: Event, stream: Stream) -> None:
        """Take what the connection tells of a stream."""
        if event is Event.REQUEST:
            if stream.id in self._streams:  # else it was reset meanwhile
                self._serve(stream)
        elif event is Event.CANCELLED:
            self._cancel(stream.id)
        else:
            self._wake(stream.id)

    def pause(self) -> None:
        """Let server streams wait: the peer does not read."""
        self._paused = True

    def resume(self) -> None:
        """Let server streams go on."""
        self._paused = False
        for number in list(self._waiting):
            self._wake(number)

    def end_streams(self) -> None:
        """End the server streams, which have no end of their own, for a server that drains."""
        for stream in list(self._streams.values()):
            if stream.head.path in self._methods.streams:
                self._cut_short(stream.id, RpcError(Status.UNAVAILABLE, "the server is draining"))

    def cancel_all(self) -> None:
        """Cancel what runs: the connection is lost."""
        for number in list(self._running):
            self._cancel(number)

    def _serve(self, stream: Stream) -> None:
        try:
            self._ask(stream, stream.head)
        except Exception as error:  # noqa: BLE001 -- it is the caller's to know, and no one else's
            failure = _as_rpc_error(stream.head.path, error)
            self._out.finish(stream, trailers_only(failure))

    def _ask(self, stream: Stream, head: Head) -> None:
        """Ask the method that a request names. Raises RpcError, and what the method raises."""
        if head.plain is not None:
            self._out.plain(stream, *head.plain)
            return
        if head.problem is not None:
            raise RpcError(Status.INTERNAL, head.problem)
        unary = self._methods.unary.get(head.path)
        server_stream = None if unary else self._methods.streams.get(head.path)
        if unary is None and server_stream is None:
            raise RpcError(Status.UNIMPLEMENTED, "unknown method")
        if stream.dropped:
            self._out.answer(stream, self._oversized(head.path))
            return
        message = message_of(stream.body, encoded=head.encoded)
        stream.body = b""  # one copy is enough, however long the method takes
        deadline = None if head.timeout is None else self.arrived + head.timeout
        if unary is not None:
            answer = unary(message, deadline)
            if isinstance(answer, bytes):
                self._out.answer(stream, answer)
            else:
                self._later(stream, answer, deadline)
        elif server_stream is not None:
            messages = server_stream(message)
            self._out.begin(stream, RESPONSE)
            self._later(stream, self._send_all(stream, messages), deadline)

    def _oversized(self, path: str) -> bytes:
        answer = self._methods.oversized.get(path)
        if answer is None:
            raise RpcError(Status.RESOURCE_EXHAUSTED, "the message is too large")
        return answer

    async def _send_all(self, stream: Stream, messages: AsyncIterator[bytes]) -> None:
        async for message in messages:
            if stream.id not in self._streams:
                return  # the caller has left, and the method takes no notice of its cancellation
            self._out.send(stream, message)
            self._flush()
            while stream.pending or self._paused:
                self._waiting[stream.id] = asyncio.get_running_loop().create_future()
                await self._waiting[stream.id]

    def _later(
        self, stream: Stream, answer: Awaitable[bytes | None], deadline: float | None
    ) -> None:
        """Answer when ``answer`` comes: a message, or None where a server stream has ended."""
        task = asyncio.ensure_future(answer)
        expiry = None
        if deadline is not None:
            expired = RpcError(Status.DEADLINE_EXCEEDED, "the deadline has passed")
            expiry = task.get_loop().call_at(deadline, self._cut_short, stream.id, expired)
        self._running[stream.id] = _Call(task, expiry)
        task.add_done_callback(partial(self._finish, stream))

    def _finish(self, stream: Stream, task: "asyncio.Future[bytes | None]") -> None:
        call = self._running.pop(stream.id)
        if call.expiry is not None:
            call.expiry.cancel()
        self._waiting.pop(stream.id, None)
        failure: BaseException | None = self._ended.pop(stream.id, None)
        if not task.cancelled():
            failure = task.exception()
        elif failure is None:
            failure = asyncio.CancelledError()  # the method's own doing
        if stream.id not in self._streams:  # the caller has left
            return
        streaming = stream.head.path not in self._methods.unary
        message = None if failure is not None else task.result()
        if isinstance(message, bytes):
            self._out.answer(stream, message)
        elif streaming and failure is None:
            self._out.finish(stream, TRAILERS)
        else:
            error = _as_rpc_error(stream.head.path, failure or TypeError())
            self._out.finish(stream, trailers(error) if streaming else trailers_only(error))
        self._flush()

    def _cut_short(self, number: int, why: RpcError) -> None:
        if number in self._running:
            self._ended[number] = why
            self._cancel(number)

    def _cancel(self, number: int) -> None:
        call = self._running.get(number)
        if call is not None:
            call.task.cancel()

    def _wake(self, number: int) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


def _as_rpc_error(path: str, error: BaseException) -> RpcError:
    """Return what the caller is told of an error: nothing of its text, unless that is meant so."""
    if isinstance(error, RpcError):
        return error
    where = " < ".join(
        f"{frame.name}:{frame.lineno}" for frame in reversed(extract_tb(error.__traceback__))
    )
    _log.error("%s failed: %s in %s", path, type(error).__name__, where)
    return RpcError(Status.INTERNAL, "internal error")

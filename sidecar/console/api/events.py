"""Server-sent events: the overview, each time it changes (WHATWG HTML, 9.2).

A stream ends after five minutes: the browser connects again, and the sidecar judges it again. So a
session that ends, or a permission that is taken away, ends the stream too.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from aiohttp import web

from sidecar.console.answers import problem
from sidecar.console.caller import Caller
from sidecar.console.fleet.cluster import Cluster
from sidecar.net.logs import fault_place

STREAM_SECONDS: Final = 300.0
MAX_STREAMS: Final = 500  # each costs some 20 KiB
MAX_STREAMS_OF_ONE: Final = 10  # of one caller: a browser opens one per visible tab
RETRY_MS: Final = 3000  # after which a browser connects again
SILENT_SECONDS: Final = 20.0  # after which a comment keeps proxies from closing the connection
WRITE_SECONDS: Final = 10.0  # for a client that does not read

_log = logging.getLogger(__name__)


class Events:
    """The streams of one console; all show the same event, made once."""

    def __init__(self, cluster: Cluster, seconds: float = STREAM_SECONDS) -> None:
        self._cluster = cluster
        self.seconds = seconds
        self._open: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._latest = b""
        self._ticker: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def open(self) -> int:
        """How many streams are open."""
        return self._open.total()

    async def stream(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """Send the overview now and after each change, until the stream's time is over."""
        if self._closing or self.open >= MAX_STREAMS:
            return problem(503, "TOO_MANY_STREAMS", "too many streams are open", Retry_After="10")
        if self._open[caller.subject] >= MAX_STREAMS_OF_ONE:
            message = f"a user has at most {MAX_STREAMS_OF_ONE} streams"
            return problem(429, "TOO_MANY_STREAMS", message, Retry_After="10")
        self._open[caller.subject] += 1
        try:
            self._tick()
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            try:
                async with asyncio.timeout(self.seconds):
                    await self._send(response)
            except (TimeoutError, ConnectionError):
                pass
            return response
        finally:
            self._open[caller.subject] -= 1
            self._open += Counter()  # forget those without a stream

    async def close(self) -> None:
        """End every stream."""
        self._closing = True
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        await self._announce()

    async def _send(self, response: web.StreamResponse) -> None:
        await response.write(f"retry: {RETRY_MS}\n\n".encode())
        sent = b""
        while not self._closing:
            if self._latest is not sent:
                # Only the latest: a client that reads slowly misses events, and costs no memory.
                sent = self._latest
                data = sent
            else:
                data = b": \n\n"
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(data)
            async with self._changed:
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        await self._changed.wait_for(self._is_after(sent))
                except TimeoutError:
                    continue

    def _is_after(self, sent: bytes) -> Callable[[], bool]:
        return lambda: self._closing or self._latest is not sent

    def _tick(self) -> None:
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._follow(), name="console-events")

    async def _follow(self) -> None:
        """Ask for the overview as often as the registry is polled, while a stream is open."""
        shown = ""
        while self.open:
            try:
                text = await self._cluster.overview_text()
                if text is not shown:
                    shown = text
                    self._latest = f"event: overview\ndata: {text}\n\n".encode()
                    await self._announce()
            except Exception as error:  # noqa: BLE001 -- the streams must go on
                _log.error("the overview is not sent: %s", fault_place(error))
            await asyncio.sleep(self._cluster.nodes.every)

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()

"""Runs asynchronous stand-ins in a thread, for tests whose own code blocks."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

SECONDS = 60.0  # to start, to end, and for each coroutine

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine in the thread's loop and returns its result."""


@contextmanager
def in_thread(service: AbstractAsyncContextManager[T]) -> Iterator[tuple[T, Run]]:
    """Enter a context in the event loop of a thread; leave it at the end."""
    ready: Future[T] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with service as value:
            ready.set_result(value)
            await stop.wait()

    def main() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 -- the test has to see it
            if not ready.done():
                ready.set_exception(error)
        finally:
            loop.close()

    thread = threading.Thread(target=main)
    thread.start()
    try:
        started = ready.result(SECONDS)
        yield started, lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(SECONDS)
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(SECONDS)

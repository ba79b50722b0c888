"""Which connection works next, when peers send more than the event loop can do in one round."""

import asyncio
from collections import deque
from typing import Protocol


class Worker(Protocol):
    """A connection that takes turns."""

    def take_turn(self) -> bool:
        """Work for a bounded time; return whether work is left."""


class Turns:
    """One turn in each round of the event loop, in order of request.

    Between two turns the loop serves everything else.
    """

    def __init__(self) -> None:
        self._waiting: deque[Worker] = deque()

    def request(self, worker: Worker) -> None:
        """Queue a worker for a turn; it must not be queued already."""
        self._waiting.append(worker)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        worker = self._waiting[0]
        try:
            if worker.take_turn():
                self._waiting.append(worker)
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._next)

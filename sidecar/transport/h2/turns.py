"""Who may work next: where peers send more than can be done at once, one after the other."""

import asyncio
from collections import deque
from typing import Protocol


class Worker(Protocol):
    """Who takes turns."""

    def take_turn(self) -> bool:
        """Work for a bounded time; return whether anything is left to do."""


class Turns:
    """One turn in each round of the event loop, in the order in which they were asked for.

    Between two of them the loop sees to everybody else.
    """

    def __init__(self) -> None:
        self._waiting: deque[Worker] = deque()

    def ask(self, worker: Worker) -> None:
        """Give a worker its turn after those who wait already; it must not be one of them."""
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

"""What the demo shows of Looma: a node registers, becomes critical, recovers, leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from demo.stack import Stack

WAIT_SECONDS = 15.0  # three probes must fail before the Basic Server counts as critical

GONE = "gone"


class Observed(NamedTuple):
    """What Looma must show of the node after an event; ``seconds`` is how long that took."""

    event: str
    wanted: str
    known: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether Looma shows what is expected."""
        return self.known == self.wanted


async def run(stack: Stack) -> AsyncIterator[Observed]:
    """Cause the events of the node, one after the other."""
    yield await _wait(stack, "the sidecar starts and registers", "healthy")
    stack.basic_server.healthy = False
    yield await _wait(stack, "the Basic Server's /health answers 503", "critical")
    stack.basic_server.healthy = True
    yield await _wait(stack, "it answers 200 again", "healthy")


def left(stack: Stack) -> Observed:
    """Query Looma after the sidecar has ended."""
    return Observed("the sidecar ends and deregisters", GONE, _known(stack)(), 0.0)


async def _wait(stack: Stack, event: str, wanted: str) -> Observed:
    loop, known = asyncio.get_running_loop(), _known(stack)
    started = loop.time()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await stack.looma.until(lambda: known() == wanted)
    except TimeoutError:
        pass
    return Observed(event, wanted, known(), loop.time() - started)


def _known(stack: Stack) -> Callable[[], str]:
    """Return a function that gets the health of the only node."""
    nodes = stack.looma.nodes
    return lambda: next((node.health_status for node in nodes.values()), GONE)

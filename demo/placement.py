"""What the demo shows of a gateway: who is served where, and what a server's end changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from demo.gateway import Gateway

SERVERS = ("basic-server-4", "basic-server-5", "basic-server-6")
USERS = ("alice", "bob")
WAIT_SECONDS = 20.0  # for the next listing, and for Envoy to take its files over
PAUSE_SECONDS = 0.02  # between two requests of a user
ROUNDS = 50  # of requests after an event, at least: enough to see one that fails


class Served(NamedTuple):
    """Which Basic Server each user got after an event; ``failed`` of ``requests`` meanwhile."""

    event: str
    servers: tuple[str, ...]
    requests: int
    failed: int
    passed: bool


async def run(gateway: Gateway) -> AsyncIterator[Served]:
    """Cause the events, one after the other; each waits for what it changes."""
    for name in SERVERS:
        await gateway.start(name)
    ready = await _until(gateway, "three Basic Servers register", lambda found: "" not in found)
    first = ready._replace(requests=0, failed=0)  # nothing could be served before
    yield first
    gone = first.servers[0]
    await gateway.kill(gone)
    yield await _until(gateway, f"{gone} is killed", lambda found: gone not in found)
    await gateway.start(gone)
    yield await _until(gateway, "it returns", lambda found: found == first.servers)
    await gateway.leave(gone)
    yield await _until(gateway, "it leaves Looma", lambda found: gone not in found)
    await gateway.start(gone)
    yield await _until(gateway, "it registers again", lambda found: found == first.servers)
    other = next(name for name in SERVERS if name not in first.servers)
    await gateway.assign(USERS[1], other)
    yield await _until(
        gateway, f"Looma assigns {other} to {USERS[1]}", lambda found: found[1] == other
    )


async def _until(gateway: Gateway, event: str, holds: Callable[[tuple[str, ...]], bool]) -> Served:
    """Send requests of each user until they are served as expected, and count the failed ones."""
    rounds = failed = 0
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    while True:
        answers = [await gateway.ask(user) for user in USERS]
        servers = tuple(name for _, name in answers)
        rounds += 1
        failed += sum(status != 200 for status, _ in answers)
        passed = holds(servers)
        if (passed and rounds >= ROUNDS) or loop.time() > deadline:
            return Served(event, servers, rounds * len(USERS), failed, passed)
        await asyncio.sleep(PAUSE_SECONDS)

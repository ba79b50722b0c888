"""A policy that is loaded again and again while requests come."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.load import LoadError
from demo.process import Process

ROUTES = 10_000
AT_REST, RELOADING = "at rest", f"reloading {ROUTES:,} routes"
PERIOD_SECONDS = 2.0  # from one to the next; each takes about one


@asynccontextmanager
async def again_and_again(process: Process, policy: Path) -> AsyncIterator[None]:
    """Change a sidecar's policy and have it reloaded, until the block ends.

    Raises LoadError where it did not take them.
    """
    before, asked = _taken(process), 0

    async def reload() -> None:
        nonlocal asked
        while True:
            with policy.open("a") as file:
                file.write("# another digest\n")
            process.signal(signal.SIGHUP)
            asked += 1
            await asyncio.sleep(PERIOD_SECONDS)

    reloads = asyncio.create_task(reload())
    try:
        yield
    finally:
        reloads.cancel()
    taken = _taken(process) - before
    if taken < max(1, asked - 1):  # the last may be on its way
        raise LoadError(f"of {asked} reloads {taken} were taken")


def _taken(process: Process) -> int:
    return process.output().count(" is in force")

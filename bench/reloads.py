"""Repeated policy reloads during a load."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.load import LoadError
from demo.process import Process

ROUTES = 10_000
AT_REST, RELOADING = "at rest", f"reloading {ROUTES:,} routes"
PERIOD_SECONDS = 2.0  # between reloads; each takes about one second


@asynccontextmanager
async def repeated_reloads(process: Process, policy: Path) -> AsyncIterator[None]:
    """Change and reload a sidecar's policy, until the block ends.

    Raises LoadError if the sidecar did not apply them.
    """
    before, requested = _applied(process), 0

    async def reload() -> None:
        nonlocal requested
        while True:
            with policy.open("a") as file:
                file.write("# another digest\n")
            process.signal(signal.SIGHUP)
            requested += 1
            await asyncio.sleep(PERIOD_SECONDS)

    reloads = asyncio.create_task(reload())
    try:
        yield
    finally:
        reloads.cancel()
    applied = _applied(process) - before
    if applied < max(1, requested - 1):  # the last may be in progress
        raise LoadError(f"{applied} of {requested} reloads were applied")


def _applied(process: Process) -> int:
    return process.output().count(" is in force")

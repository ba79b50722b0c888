"""A server in Go that decides nothing, to hold the sidecar against where Go is at hand."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import CommandError, free_ports, run
from bench.sidecars import POLL_SECONDS, READY_SECONDS
from demo.process import Process, ProcessError

NAME = "Go, decides nothing"
SOURCE = Path(__file__).with_name("goauthz")
BUILD_SECONDS = 300.0  # of which most, once, is loading and compiling grpc-go


@dataclass(frozen=True)
class GoServer:
    """A running one."""

    process: Process
    address: str

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[GoServer | None]:
    """Build one and run it until the block ends; None where that cannot be, which is said.

    Raises ProcessError for one that was built and does not run.
    """
    program = directory / SOURCE.name
    why_not = await _build(program)
    if why_not:
        print(f"{NAME}: left out, {why_not}")
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
    """Build it; say why that cannot be, if so."""
    if shutil.which("go") is None:
        return "there is no Go here"
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
        raise ProcessError(f"{NAME}: it does not listen") from None

"""Run other processes and measure their cost."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path

MEBIBYTE = 2**20
CHECK_OUT_SECONDS = 60.0


class CommandError(Exception):
    """A program failed; the message ends with its last output."""


async def run(command: Sequence[str], *, within: float) -> str:
    """Run a program, for at most ``within`` seconds, and return its output.

    Raises CommandError.
    """
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(within):
            output, _ = await child.communicate()
    except TimeoutError:
        raise CommandError(f"{command[0]} did not end within {within:.0f} s") from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    text = output.decode(errors="replace")
    if child.returncode:
        raise CommandError(f"{command[0]} failed ({child.returncode}): {text[-500:]}")
    return text


async def check_out(commit: str, directory: Path) -> None:
    """Write the package at a commit of this repository into a directory.

    It runs with the packages that are installed now. Raises CommandError.
    """
    archive = directory / "archive.tar"
    repository = str(Path(__file__).parents[1])
    await run(
        ["git", "-C", repository, "archive", f"--output={archive}", commit, "sidecar"],
        within=CHECK_OUT_SECONDS,
    )
    await run(["tar", "-xf", str(archive), "-C", str(directory)], within=CHECK_OUT_SECONDS)
    archive.unlink()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, user and system, all of its threads.

    The same as utime and stime of /proc/PID/stat, but in nanoseconds instead of hundredths of a
    second. The clock's ID is computed from the process ID, see clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | 2)


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise CommandError(f"process {pid} has ended")


def free_ports(number: int) -> list[int]:
    """Return loopback ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

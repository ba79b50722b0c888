"""Child processes that never outlive the demo."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

STOP_SECONDS = 20.0  # above the sidecar's own drain; then the process is killed

_LAUNCH = Path(__file__).with_name("launch.py")


class ProcessError(Exception):
    """A child process did not start, or ended; the message ends with its last lines of output."""


class Process:
    """A child process in a session of its own, its output in files.

    The session keeps a terminal's Ctrl-C from reaching it, so that it is stopped in order; on
    Linux the kernel kills it should this process die first.
    """

    def __init__(
        self, name: str, child: asyncio.subprocess.Process, stdout: Path, stderr: Path
    ) -> None:
        self.name = name
        self.stdout = stdout
        self.stderr = stderr
        self._child = child

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        env: Mapping[str, str] | None = None,
        *,
        cwd: Path | None = None,
    ) -> Self:
        """Start ``command``, in ``cwd``; ``name`` names its output files. Raises ProcessError."""
        stdout, stderr = directory / f"{name}.stdout", directory / f"{name}.stderr"
        with stdout.open("wb") as out, stderr.open("wb") as err:
            try:
                child = await asyncio.create_subprocess_exec(
                    *_bound_to_this_process(command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessError(f"{name} cannot be started: {error}") from error
        return cls(name, child, stdout, stderr)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._child.returncode

    def output(self) -> str:
        """Its output so far, standard output first."""
        return "".join(f.read_text(errors="replace") for f in (self.stdout, self.stderr))

    def check_running(self) -> None:
        """Raise ProcessError if it has ended."""
        if self.returncode is not None:
            last = "\n".join(self.output().strip().splitlines()[-8:])
            raise ProcessError(f"{self.name} ended by itself (exit {self.returncode}):\n{last}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.returncode is None:
            self._child.send_signal(number)

    async def wait(self) -> int:
        """Wait until it ends; its exit code."""
        return await self._child.wait()

    async def stop(self) -> int:
        """End it with SIGTERM, then SIGKILL; return its exit code."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.wait()
        except TimeoutError:
            pass
        finally:
            self.signal(signal.SIGKILL)  # also where the wait was cancelled
        return await self.wait()


def _bound_to_this_process(command: Sequence[str | Path]) -> list[str]:
    words = [str(word) for word in command]
    if sys.platform != "linux":
        return words
    return [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *words]

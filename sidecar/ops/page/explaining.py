"""Explanations of logged decisions, each from a process of its own: ``zervi-sidecar explain``.

``serve`` never imports the workbench: it would take memory and time from the Checks.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

MAX_WAITING: Final = 4
"""Explanations that wait for the one that runs: each process takes some 60 MiB, so only one."""

SECONDS: Final = 15.0
"""For one explanation, the wait for others included. The process takes half a second; with a table
of 10,000 routes, some seconds."""

MAX_OUTPUT: Final = 256 * 1024
"""Bytes of an explanation. It repeats the line, which has at most 64 KiB, and names routes."""

LOWEST_PRIORITY: Final = 19  # setpriority(2)

_ROOT: Final = str(Path(__file__).parents[3])


class NotExplainedError(Exception):
    """There is no explanation; the message says why, ``word`` is a key of the page's texts."""

    def __init__(self, word: str, message: str = "") -> None:
        super().__init__(message)
        self.word = word


class Step(NamedTuple):
    """A step of the decision: held, failed, or (None) a remark."""

    name: str
    held: bool | None
    text: str
    chinese: str


class Explanation(NamedTuple):
    """The steps of a decision; ``decision`` is None where the log is not enough for a verdict."""

    decision: str | None
    reason: str | None
    route_at: str | None
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    body: str


class Explaining:
    """Explains lines of the decision log by the configuration in a file, one at a time."""

    def __init__(self, config: Path) -> None:
        self._command: tuple[str, ...] = (
            *(sys.executable, "-P", "-m", "sidecar", "explain"),
            *("--config", str(config.resolve()), "--json", "--decision-id"),
        )
        self._running = asyncio.Semaphore(1)
        self._waiting = 0

    async def explain(self, line: bytes) -> Explanation:
        """Explain a decision. Raises NotExplainedError."""
        if self._waiting > MAX_WAITING:
            raise NotExplainedError("explain_busy")
        self._waiting += 1
        try:
            async with asyncio.timeout(SECONDS), self._running:
                return await self._run(line)
        except TimeoutError:
            raise NotExplainedError("explain_slow") from None
        finally:
            self._waiting -= 1

    async def _run(self, line: bytes) -> Explanation:
        known = json.loads(line)
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH", ""))))
        process = await asyncio.create_subprocess_exec(
            *self._command,
            str(known["decision_id"]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        # The page's peers can ask again and again: Checks come first.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
        try:
            output, errors = await _talk(process, line)
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            said = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise NotExplainedError("explain_failed", said.removeprefix("zervi-sidecar explain: "))
        try:
            return _read(json.loads(output))
        except (ValueError, KeyError, TypeError):  # cut, as it is too long
            raise NotExplainedError("explain_failed") from None


async def _talk(process: asyncio.subprocess.Process, line: bytes) -> tuple[bytes, bytes]:
    """Send a line; return what the process writes, of bounded size."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise NotExplainedError("explain_failed")
    process.stdin.write(line)
    process.stdin.close()
    output, errors = await asyncio.gather(_part(process.stdout), _part(process.stderr))
    return output, errors


async def _part(reader: asyncio.StreamReader) -> bytes:
    kept = b""
    while data := await reader.read(MAX_OUTPUT):
        kept = (kept + data)[:MAX_OUTPUT]  # the rest is read, so that the process can end
    return kept


def _read(document: Mapping[str, Any]) -> Explanation:
    answer = document["answer"]
    return Explanation(
        document["decision"],
        document["reason"],
        document["route_at"],
        tuple(Step(*map(step.__getitem__, Step._fields)) for step in document["steps"]),
        tuple(document["notes"]),
        "" if answer is None else answer["body"],
    )

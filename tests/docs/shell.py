"""A shell in which the commands of a page are run one after the other."""

import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VARYING = re.compile(rf"({_UUID}|\.\.\.)")


class Shell:
    """A bash, with the commands of this Python's environment first in its PATH.

    Variables, jobs and the current directory last from one command to the next. Leaving the context
    ends the jobs that run in the background, and fails if one cannot be ended.
    """

    def __init__(self, directory: Path) -> None:
        self._end = secrets.token_hex()
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=directory,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "COLUMNS": "200",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; return its exit code, and what it wrote to either output."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ :\n{command}\n}} </dev/null\necho {self._end} $?\n")
        self._bash.stdin.flush()
        printed = ""
        for line in self._bash.stdout:
            before, marker, code = line.partition(self._end)
            printed += before
            if marker:
                return int(code), printed
        raise AssertionError(f"the shell has ended by itself: {printed}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            if raised[0] is None:
                self.run("kill $(jobs -p) 2>/dev/null; wait")
        finally:
            with self._bash:  # not until its output ends: a process of another group may keep it
                os.killpg(self._bash.pid, signal.SIGKILL)


def fits(shown: str, printed: str) -> bool:
    """Say whether what a page shows is what was printed.

    A line of three dots stands for any lines, three dots within a line for any text, and a UUID for
    any UUID.
    """
    pattern = ""
    for line in shown.splitlines(keepends=True):
        if line.strip() == "...":
            pattern += "(?:.*\n)*"
            continue
        for index, part in enumerate(_VARYING.split(line)):
            varying = ".*" if part == "..." else _UUID
            pattern += varying if index % 2 else re.escape(part)
    return re.fullmatch(pattern, printed) is not None

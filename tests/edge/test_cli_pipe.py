"""A reader that has read enough, such as `head`, ends a command without a traceback."""

import os
import subprocess
import sys

import pytest

COMMANDS = (["version"], ["schema", "config"], ["doctor", "--envoy", "README.md"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_a_closed_pipe_ends_a_command_silently(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *command],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")

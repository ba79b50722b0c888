"""Asks the real Envoy whether it accepts a bootstrap."""

import re
import subprocess
from pathlib import Path

from demo.envoy import program


def envoy_validates(file: Path) -> None:
    """Fail unless Envoy finds nothing wrong in a bootstrap, and nothing deprecated."""
    command: list[str | Path] = [program(), "--mode", "validate", "-c", file, "-l", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\[warning\]|deprecated", done.stderr, re.IGNORECASE), done.stderr

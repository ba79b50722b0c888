"""Runs every test in two processes side by side (``make test``): many of them wait for Envoys."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
HALVES = (("core", "edge", "workbench"), ("e2e", "security"))


def main() -> int:
    """Run both halves; print the first as it goes, then the second. 1 where anything failed."""
    missing = {each.parent.name for each in TESTS.glob("*/test_*.py")} - {*HALVES[0], *HALVES[1]}
    if missing:
        print(f"in no half: {', '.join(sorted(missing))}", file=sys.stderr)
        return 1
    first, second = (
        [sys.executable, "-m", "pytest", "-q", *(str(TESTS / folder) for folder in half)]
        for half in HALVES
    )
    with subprocess.Popen(
        [*second, "-p", "no:cacheprovider"],  # the cache belongs to the first
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as beside:
        code = subprocess.run(first, check=False).returncode
        output, _ = beside.communicate()
    sys.stdout.write(output.decode(errors="replace"))
    return 1 if code or beside.returncode else 0


if __name__ == "__main__":
    sys.exit(main())

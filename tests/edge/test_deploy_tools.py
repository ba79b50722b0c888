"""What the Makefile installs is locked by hash, tools and fuzzers included."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def installs() -> list[str]:
    """Return each command of the Makefile that has pip install something."""
    joined = MAKEFILE.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if "pip install" in line]


def test_pip_installs_nothing_but_by_hash() -> None:
    """Except the project itself, which needs no package and no network."""
    found = installs()
    assert len(found) >= 4
    for command in found:
        own = "--no-deps --no-build-isolation -e ." in command
        assert own or re.search(r"--require-hashes\b.* -r requirements-[a-z]+\.lock", command)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.name
)
def test_every_line_of_a_lock_has_a_version_and_hashes(path: Path) -> None:
    entries = re.split(r"\n(?! )", path.read_text().strip())
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry


def test_make_lock_writes_every_lock() -> None:
    written = set(re.findall(r"-o (requirements[a-z-]*\.lock)", MAKEFILE))
    assert written == {path.name for path in ROOT.glob("requirements*.lock")}


def pip(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run `make fuzz` with a Python that does this instead of pip, and says "fuzzed"."""
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ncase "$*" in *pip*) {script};; *) echo fuzzed;; esac\n')
    python.chmod(0o755)
    (tmp_path / "venv/.ready").touch()
    command = ["make", "-s", "-o", f"{tmp_path}/venv/.ready", f"VENV={tmp_path}/venv", "fuzz"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_where_no_atheris_is_made_for_this_python_hypothesis_fuzzes(tmp_path: Path) -> None:
    said = "ERROR: No matching distribution found for atheris==3.0.0"
    done = pip(tmp_path, f'echo "{said}" >&2; exit 1')
    assert (done.returncode, done.stdout) == (0, "fuzzed\n")
    assert "hypothesis" in done.stderr


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
        "ERROR: Could not install packages due to an OSError: No space left on device",
    ],
)
def test_any_other_failure_to_install_is_shown_and_ends_it(tmp_path: Path, said: str) -> None:
    done = pip(tmp_path, f'echo "{said}" >&2; exit 1')
    assert done.returncode != 0
    assert said in done.stderr
    assert "fuzzed" not in done.stdout

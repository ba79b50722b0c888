"""Runs a Dockerfile's own commands on this machine, where no image can be built.

This is not Docker: the stages share one root directory, each has a fresh virtual environment where
an image has its Python, and the user never changes. What it shows is that the install and the
start commands, as they are written in the Dockerfile, work.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ABSOLUTE = ("/opt/", "/build", "/etc/")  # the image's own directories; others mean this machine's


class Image:
    """What a Dockerfile made under ``root``."""

    def __init__(self, dockerfile: Path, root: Path) -> None:
        self.root = root
        self.user = ""
        self.stop_signal = ""
        self.entrypoint: list[str] = []
        self.cmd: list[str] = []
        self.stages = 0
        self._context = dockerfile.parent
        self._ignored = (self._context / ".dockerignore").read_text().split()
        self._directory = root
        self._environment: dict[str, str] = {}
        for instruction, argument in _instructions(dockerfile):
            getattr(self, f"_{instruction.lower()}")(argument)

    @property
    def command(self) -> list[str]:
        """What a container of this image starts, with paths under ``root``."""
        return [self._here(word) for word in [*self.entrypoint, *self.cmd]]

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the commands of the last stage see."""
        python = self.root / f"python-{self.stages}" / "bin"
        path = f"{python}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **self._environment, "PATH": path}

    def _here(self, text: str) -> str:
        for prefix in ABSOLUTE:
            text = text.replace(prefix, f"{self.root}{prefix}")
        return text

    def _from(self, _image: str) -> None:
        self.stages += 1
        self._environment = {}
        pristine = self.root / "python"
        if not pristine.exists():
            subprocess.run([sys.executable, "-m", "venv", pristine], check=True, timeout=60)
        shutil.copytree(pristine, self.root / f"python-{self.stages}", symlinks=True)

    def _env(self, argument: str) -> None:
        for pair in argument.split():
            name, _, value = pair.partition("=")
            if name != "PIP_NO_CACHE_DIR":  # this machine's cache may be used, it changes nothing
                self._environment[name] = value

    def _workdir(self, argument: str) -> None:
        self._directory = Path(self._here(argument))
        self._directory.mkdir(parents=True)

    def _run(self, argument: str) -> None:
        done = subprocess.run(
            self._here(argument),
            shell=True,
            cwd=self._directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"RUN {argument}\n{done.stdout}{done.stderr}"

    def _copy(self, argument: str) -> None:
        *sources, target = argument.split()
        if sources[0].startswith("--from="):
            assert Path(self._here(sources[1])).exists()  # the stages share the root
            return
        for source in sources:
            assert f"!{source}" in self._ignored, f"{source} is not in the build context"
            if (self._context / source).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(self._context / source, self._directory / target, ignore=ignore)
            else:
                shutil.copy(self._context / source, self._directory / target)

    def _user(self, argument: str) -> None:
        self.user = argument

    def _stopsignal(self, argument: str) -> None:
        self.stop_signal = argument

    def _entrypoint(self, argument: str) -> None:
        self.entrypoint = json.loads(argument)

    def _cmd(self, argument: str) -> None:
        self.cmd = json.loads(argument)


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = (line.strip() for line in dockerfile.read_text().splitlines())
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return [(word, argument.strip()) for word, _, argument in pairs]

"""Writes configurations for the tests of ``sidecar.config``."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.config import Config, ConfigError, Finding, read_files
from sidecar.review import lint

SECRET = "a-secret-of-forty-bytes-0123456789abcdef"
ENVIRON = {"ZERVI_JWT_SECRET": SECRET, "ZERVI_TOKEN": "t", "INTROSPECTION_SECRET": "s"}

ISSUERS = "zervi: {issuers: [{issuer: zervi, secret_env: ZERVI_JWT_SECRET}]}\n"
POLICY = "policy: {file: routes.yaml}\n"
ROUTES = 'api_gateway: {routes: [{path: "/x"}]}\n'


class Files:
    """A directory with ``sidecar.yaml``, ``routes.yaml`` and the other files of a test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "sidecar.yaml"
        self.environ: Mapping[str, str] = ENVIRON
        self.write(sidecar=ISSUERS + POLICY, routes=ROUTES)

    def write(self, **texts: str) -> None:
        """Write ``<name>.yaml`` for each name."""
        for name, text in texts.items():
            (self.directory / f"{name}.yaml").write_text(text, encoding="utf-8")

    def load(self) -> Config:
        """Load what was written, as `serve` does."""
        files = read_files(self.config, self.environ)
        return files.config(lint.findings(files))

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings of loading, errors or warnings."""
        try:
            return self.load().warnings
        except ConfigError as error:
            return error.findings

    def lines(self) -> list[str]:
        """Return the findings as an operator reads them, without the directory."""
        return [str(finding).replace(f"{self.directory}/", "") for finding in self.findings()]


class Case(NamedTuple):
    """One file and its findings; written as ``## title``, the file, and ``> `` lines."""

    title: str
    text: str
    lines: list[str]


def cases(name: str) -> list[Case]:
    """Read the cases of a text file beside this one."""
    blocks = (Path(__file__).parent / name).read_text(encoding="utf-8").split("## ")[1:]
    return [_case(*block.split("\n", 1)) for block in blocks]


def _case(title: str, block: str) -> Case:
    lines = block.splitlines()
    told = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    text = "".join(f"{line}\n" for line in lines if line and not line.startswith("> "))
    return Case(title, text, told)

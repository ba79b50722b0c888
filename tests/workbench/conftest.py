"""The command `explain`, for the tests of what it shows."""

import json

import pytest

from sidecar.cli import main
from tests.support.case_tokens import CASES

SIDECAR = str(CASES / "config" / "sidecar.yaml")
PEOPLE = str(CASES / "people.fixtures.yaml")
TOKEN_FILE = str(CASES / "tokens.fixtures.yaml")


class Explain:
    """The command, and what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0, config: str = SIDECAR) -> str:
        assert main(["explain", "--config", config, *arguments]) == code
        out, err = self._capsys.readouterr()
        return out if code == 0 else err

    def steps(self, *arguments: str, config: str = SIDECAR) -> list[tuple[str, bool | None, str]]:
        body = json.loads(self(*arguments, "--json", config=config))
        return [(step["name"], step["held"], step["text"]) for step in body["steps"]]


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]) -> Explain:
    return Explain(capsys)

"""The pages that people follow: every command on them, in order, with the output shown."""

import contextlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.cli import main
from sidecar.config.schema import keys_of
from sidecar.workbench.case_schema import (
    CaseEntries,
    Expectation,
    PrincipalEntry,
    RequestEntry,
)

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:^<!-- (\w+)(?::)? ?(.*?) -->\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A fenced block, and the comment above it."""

    word: str
    argument: str
    language: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        yield Block(*found)


def run(command: str) -> tuple[int, str]:
    """Run a command as a shell would; return its exit code and what it printed."""
    words = shlex.split(command)
    assert words[0] == "zervi-sidecar"
    target = None
    if ">" in words:
        target = Path(words[-1])
        words = words[: words.index(">")]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(words[1:])
    if target is None:
        return code, printed.getvalue()
    target.write_text(printed.getvalue(), encoding="utf-8")
    return code, ""


def fits(shown: str, printed: str) -> bool:
    """Say whether what is shown is what was printed; a line of three dots is any lines."""
    pattern = re.escape(shown).replace(re.escape("...\n"), "(?:.*\n)*")
    return re.fullmatch(pattern, printed) is not None


@pytest.mark.parametrize("page", ["policy-guide.md", "testing-policies.md"])
def test_every_command_of_a_page_does_what_it_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = 0
    for block in blocks(page):
        if block.word == "file":
            path = tmp_path / block.argument
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.word == "copy":
            shutil.copy(ROOT / block.argument, tmp_path)
        if block.language != "console":
            continue
        for part in block.text.split("$ ")[1:]:
            command, _, shown = part.partition("\n")
            code, printed = run(command)
            assert fits(shown, printed), f"{command}\n{printed}"
            assert code == (int(block.argument) if block.word == "exits" else 0), command
            commands += 1
    assert commands > 0


def test_the_explanation_in_the_readme_is_that_of_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = list(blocks("../README.md"))
    for name, key in (("routes.yaml", "api_gateway:"), ("sidecar.yaml", "zervi:")):
        (text,) = (each.text for each in page if each.text.startswith(key))
        (tmp_path / name).write_text(text, encoding="utf-8")
    (told,) = (each.text for each in page if each.text.startswith("$ zervi-sidecar explain"))
    command, _, shown = told.replace("\\\n", "").removeprefix("$ ").partition("\n")
    code, printed = run(command)
    assert fits(f"{shown}...\n", printed), printed
    assert code == 0


def test_every_key_of_a_case_is_described() -> None:
    page = (ROOT / "docs" / "testing-policies.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([a-z_]+)`", page, re.MULTILINE))
    sections = (CaseEntries, PrincipalEntry, RequestEntry, Expectation)
    assert documented == {key for section in sections for key in keys_of(section).kinds}

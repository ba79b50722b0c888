"""docs/lint.md: every finding, each example with its actual output."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.config_files import ISSUERS, POLICY
from tests.support.findings import review

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
_SECTION = re.compile(r"^### `([a-z-]+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS: dict[str, str] = dict(_SECTION.findall(PAGE))

# What a page cannot show: secrets of a certain kind, files of megabytes, bytes that are not text.
# tests/edge/test_config_{secrets,hostile,yaml,identity}.py and test_overlap.py have them.
WITHOUT_EXAMPLE = {
    "weak-secret",
    "secret",
    "unused-keys",
    "yaml-size",
    "yaml-encoding",
    "not-compared",
    "identity-too-large",
}


def codes() -> Iterator[str]:
    """Yield the codes in the source, which are arguments of calls that create a problem."""
    calls = {"Problem": 1, "refuse": 1, "warning": 1, "info": 1, "_fault": 1, "Fault": 1,
             "Finding": 0}  # fmt: skip
    rooms = ("config", "documents", "review")
    for path in (path for room in rooms for path in (ROOT / "sidecar" / room).glob("*.py")):
        if path.name.startswith("foreign"):
            continue  # readers of other programs' documents, which `check` does not report
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in calls and len(node.args) > calls[name]:
                code = node.args[calls[name]]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    yield code.value


def test_every_code_is_documented_and_no_other() -> None:
    composed = {"misspelt-permission", "misspelt-role"}  # names composed at run time
    assert set(SECTIONS) == set(codes()) | composed


@pytest.mark.parametrize("code", SECTIONS)
def test_an_example_has_the_shown_findings(code: str, tmp_path: Path) -> None:
    files = re.findall(r"```yaml\n(.*?)```", SECTIONS[code], re.DOTALL)
    wanted = re.findall(r"```text\n(.*?)\n```", SECTIONS[code], re.DOTALL)
    if code in WITHOUT_EXAMPLE:
        assert not files
        return
    found = review(tmp_path, *files)
    assert "\n".join(str(each) for each in found if each.code == code) == wanted[0]


def test_the_files_that_the_page_leaves_out_have_no_findings(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n# sidecar.yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown == ISSUERS + POLICY
    assert review(tmp_path, shown) == []

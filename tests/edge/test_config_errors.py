"""Errors in ``sidecar.yaml`` and ``routes.yaml``, each with its line and column.

The files and their findings are in ``config_sidecar_errors.txt`` and
``config_routes_errors.txt``.
"""

from pathlib import Path

import pytest

from sidecar.config import ConfigError, Severity
from tests.edge.config_files import ENVIRON, ISSUERS, POLICY, Case, Files, cases

SIDECAR = cases("config_sidecar_errors.txt")
ROUTES = cases("config_routes_errors.txt")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.environ = {**ENVIRON, "EMPTY": "", "TEXT": "text", "CONTROL": "a\nb", "T": "token"}
    return files


@pytest.mark.parametrize("case", SIDECAR, ids=lambda case: case.title)
def test_an_error_in_the_configuration_is_reported_at_its_key(files: Files, case: Case) -> None:
    rest = "" if case.text.startswith("zervi:") else ISSUERS
    rest += "" if case.text.startswith("policy:") else POLICY
    files.write(sidecar=case.text + rest)
    told = [line.replace(str(files.directory), "<directory>") for line in files.lines()]
    assert told == case.lines


@pytest.mark.parametrize("case", ROUTES, ids=lambda case: case.title)
def test_an_error_in_the_policy_is_reported_at_its_key(files: Files, case: Case) -> None:
    files.write(routes=case.text)
    assert files.lines() == case.lines


def test_errors_of_both_files_are_reported_together_in_their_order(files: Files) -> None:
    files.write(
        sidecar=f"drain: 1\n{ISSUERS}{POLICY}log: {{level: loud}}\n",
        routes='api_gateway:\n  routes:\n    - {path: "/x", role: a}\n    - {path: y}\n',
    )
    assert [line.split(": ")[0] for line in files.lines()] == [
        "sidecar.yaml:1:1",
        "sidecar.yaml:4:7",
        "routes.yaml:3:20",
        "routes.yaml:4:8",
    ]


def test_a_policy_is_checked_even_if_the_configuration_is_invalid(files: Files) -> None:
    files.write(sidecar="zervi: {issuers: [{issuer: zervi}]}\n" + POLICY)
    files.write(routes='api_gateway: {routes: [{path: "/x", issuers: [zervi, other]}]}')
    assert [finding.code for finding in files.findings()] == ["missing-key", "unknown-issuer"]


def test_a_missing_configuration_is_one_line(files: Files) -> None:
    files.config.unlink()
    assert files.lines() == [
        "sidecar.yaml: error: the file cannot be read: No such file or directory"
    ]


def test_the_error_itself_reads_like_its_findings(files: Files) -> None:
    files.write(sidecar="drain: 15s\nlog: {level: loud}\n" + ISSUERS + POLICY)
    with pytest.raises(
        ConfigError, match=r"sidecar.yaml:2:7: error: `level` must be debug"
    ) as told:
        files.load()
    (finding,) = told.value.findings
    assert finding.code == "bad-value"
    assert finding.severity is Severity.ERROR
    assert (finding.line, finding.column) == (2, 7)


def test_an_operators_text_is_repeated_shortened_and_on_one_line(files: Files) -> None:
    """A right-to-left override must not reorder what an operator reads in a terminal."""
    files.write(sidecar=f'"\u202e{"x" * 500}": 1\n' + ISSUERS + POLICY)
    (line,) = files.lines()
    assert line.startswith(f"sidecar.yaml:1:1: error: unknown key `\\u202e{'x' * 78}…`")

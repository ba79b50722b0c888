"""``zervi-sidecar check``: what it prints and how it exits."""

from pathlib import Path

import pytest

from sidecar.cli import main
from tests.edge.config_files import ISSUERS, POLICY, SECRET, Files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv("ZERVI_JWT_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    return Files(tmp_path)


def test_a_good_configuration_is_one_line_and_exit_0(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = files.load().policy.digest
    assert main(["check", "--config", "sidecar.yaml"]) == 0
    assert capsys.readouterr().out == f"sidecar.yaml: good (1 issuer, 1 route, policy {digest})\n"


def test_errors_are_listed_one_a_line_and_counted_and_exit_1(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(
        sidecar="drian: 1s\nlisten: {authz: 0.0.0.0:9001}\n" + ISSUERS + POLICY,
        routes="api_gateway: {routes: [{path: /x, permision: [a]}]}\n",
    )
    assert main(["check", "--config", "sidecar.yaml"]) == 1
    first, warning, second, summary = capsys.readouterr().out.splitlines()
    assert first == "sidecar.yaml:1:1: error: unknown key `drian`, did you mean `drain`?"
    assert warning.startswith("sidecar.yaml:2:10: warning: ")
    assert second == (
        "routes.yaml:1:35: error: unknown key `permision`, did you mean `permissions`?"
    )
    assert summary == "sidecar.yaml, routes.yaml: 2 errors, 1 warning"


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 1)])
def test_warnings_fail_only_a_strict_check(
    files: Files, capsys: pytest.CaptureFixture[str], strict: list[str], code: int
) -> None:
    files.write(sidecar="listen: {authz: 0.0.0.0:9001}\n" + ISSUERS + POLICY)
    assert main(["check", "--config", "sidecar.yaml", *strict]) == code
    assert "sidecar.yaml: good, 1 warning (1 issuer" in capsys.readouterr().out


def test_files_are_relative_to_the_configuration_not_to_the_working_directory(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (files.directory / "elsewhere").mkdir()
    monkeypatch.chdir(files.directory / "elsewhere")
    assert main(["check", "--config", "../sidecar.yaml"]) == 0
    assert capsys.readouterr().out.startswith("../sidecar.yaml: good")


def test_a_configuration_that_is_not_there_is_one_clear_line(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", "absent.yaml"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "absent.yaml: error: the file cannot be read: No such file or directory",
        "absent.yaml: 1 error",
    ]


def test_calling_it_without_a_configuration_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check"])
    assert end.value.code == 2
    assert "--config" in capsys.readouterr().err


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", "--help"])
    assert end.value.code == 0
    assert "zervi-sidecar check --config sidecar.yaml --strict" in capsys.readouterr().out


def test_the_version_is_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    printed = capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == printed

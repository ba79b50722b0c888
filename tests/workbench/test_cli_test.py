"""`zervi-sidecar test`: what a person and a pipeline see of cases."""

import json
import textwrap
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sidecar.cli import main
from sidecar.core.reasons import Reason
from sidecar.documents.findings import one_of
from sidecar.workbench.case_schema import PINNED
from sidecar.workbench.runner import watch

CASE = """\
api_gateway:
  routes:
    - {path: /open, auth_required: false}
    - {path: /closed, name: closed, permissions: [a:read]}
principals:
  reader: {claims: {sub: "7", permissions: [a:read]}}
  other: {claims: {sub: "8"}}
requests:
  open: GET /open
  closed: GET /closed
expect:
  open: {anyone: public}
  closed:
    reader: ok
    other: permission_denied
"""

ORDERS = "api_gateway: {routes: [{path: /api/orders/*}]}"
REASONS = one_of(Reason)
SUCH = f" (such as {PINNED})"
MEANT = " (did you mean permission_denied?)"

Run = tuple[int, str, str]


class Cases:
    """A directory of case files, and the command on it."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def write(self, text: str, name: str = "case.yaml") -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *arguments: str) -> Run:
        code = main(["test", str(self.directory), *arguments])
        out, err = self._capsys.readouterr()
        return code, out.replace(f"{self.directory}/", ""), err.replace(f"{self.directory}/", "")


@pytest.fixture
def cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cases:
    return Cases(tmp_path, capsys)


def test_what_holds_is_one_line(cases: Cases) -> None:
    cases.write(CASE)
    assert cases.run() == (0, "6 decisions in 1 file: 0 failed\n", "")


def test_the_help_shows_a_case_that_runs(cases: Cases, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["test", "--help"])
    shown = capsys.readouterr().out.partition("A case file")[2].partition("\n\n")[2]
    text = textwrap.dedent(shown).replace("config: sidecar.yaml", ORDERS)
    cases.write(text)
    assert cases.run() == (0, "2 decisions in 1 file: 0 failed\n", "")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            "principals: [alice]",
            "`principals` must be a mapping of keys, not a list (such as alice",
        ),
        ("principals: {a: [user]}", "`a` must be a mapping of keys, not a list (such as {claims: "),
        ("requests: [GET /x]", "`requests` must be a mapping of keys, not a list (such as read it"),
        ("requests: {a: [GET]}", "`a` must be a mapping of keys, not a list (such as GET /x, or {"),
        ("expect: [allow]", "`expect` must be a mapping of keys, not a list (such as read it: {al"),
        ("expect: {a: allow}", "`a` must be a mapping of keys, not text (such as {alice: allow},"),
        ("expect: {a: {b: [x]}}", "`b` must be a mapping of keys, not a list (such as allow, or"),
    ],
)
def test_who_writes_another_shape_is_shown_the_right_one(
    cases: Cases, wrong: str, text: str
) -> None:
    cases.write(f"{ORDERS}\n{wrong}\n{'' if 'requests' in wrong else 'requests: {}'}\n")
    code, _, err = cases.run()
    assert code == 2
    assert text in err


def test_a_difference_names_its_line_and_both_sides(cases: Cases) -> None:
    cases.write(CASE.replace("other: permission_denied", "other: {reason: ok, status: 200}"))
    code, out, _ = cases.run()
    assert code == 1
    assert out.splitlines() == [
        "case.yaml:15: closed (GET /closed) by other",
        "    reason: expected ok, got permission_denied",
        "    status: expected 200, got 403",
        "6 decisions in 1 file: 1 failed",
    ]


def test_what_is_not_listed_is_expected_denied(cases: Cases) -> None:
    cases.write(CASE.replace("    reader: ok\n", ""))
    code, out, _ = cases.run()
    assert code == 1
    assert "closed (GET /closed) by reader\n    decision: expected deny, got allow" in out


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("{headers: {x-user-id: '8'}}", 'header x-user-id: expected "8", got "7"'),
        ("{headers: {x-user-id: null}}", 'header x-user-id: expected none, got "7"'),
        ("{headers: {x-user-email: a@b}}", 'header x-user-email: expected "a@b", got none'),
        ("{route: other}", "route: expected other, got closed"),
        ("{message: no}", "message: expected no, got none"),
        ("{body: {code: X}}", 'body code: expected "X", got none'),
        ("{body: text}", 'body: expected "text", got ""'),
    ],
)
def test_headers_bodies_and_routes_are_compared(cases: Cases, wanted: str, text: str) -> None:
    cases.write(CASE.replace("reader: ok", f"reader: {wanted}"))
    code, out, _ = cases.run()
    assert (code, out.splitlines()[1].strip()) == (1, text)


def test_all_errors_of_a_case_are_reported_together(cases: Cases) -> None:
    """With its position, and nothing is run."""
    text = CASE.replace("other: permission_denied", "othr: {reason: permision_denied}")
    text = text.replace("permissions: [a:read]}\n", "permision: [a:read]}\n", 1)
    text = text.replace("closed: GET /closed", "closed: /closed\n  more: {path: /x, hots: y}")
    cases.write("now: yesterday\n" + text)
    code, out, err = cases.run()
    assert (code, out) == (2, "")
    assert [tuple(line.split(": error: ")) for line in err.splitlines()] == [
        (
            "case.yaml:1:1",
            f"`now` must be a time with its zone, not `yesterday`{SUCH}",
        ),
        ("case.yaml:5:37", "unknown key `permision`, did you mean `permissions`?"),
        ("case.yaml:11:3", "`closed` must be a method and a path, not `/closed` (such as GET /x)"),
        ("case.yaml:12:20", "unknown key `hots`, did you mean `host`?"),
        ("case.yaml:17:12", f"`reason` must be {REASONS}, not `permision_denied`{MEANT}"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("  closed:\n    reader", "  closd:\n    reader", "13:3: unknown request `closd`"),
        ("    other: p", "    othr: p", "15:5: unknown principal `othr`"),
        ("reader: {claims", "nobody: {claims", "6:3: `nobody` is a reserved name"),
        ('{claims: {sub: "8"}}', "{}", "7:3: `other` needs either `claims` or `token`"),
        ('{sub: "8"}', "{iss: x}", "7:3: unknown issuer `x` (known: `zervi`)"),
        ("permissions: [a:read]}\n", "permision: [a:read]}\n", "4:37: unknown key `permision`"),
        ("reader: ok", "reader: perhaps", "14:5: `reason` must be"),
    ],
)
def test_what_does_not_fit_is_an_error(cases: Cases, before: str, after: str, text: str) -> None:
    path, _, message = text.partition(": ")
    cases.write(CASE.replace(before, after, 1))
    code, _, err = cases.run()
    assert code == 2
    assert any(line.startswith(f"case.yaml:{path}: error: {message}") for line in err.splitlines())


@pytest.mark.parametrize("content", [b"", b"\xff", b"requests: [", b"- 1", b"requests:\n  x: &a 1"])
def test_a_file_that_is_not_a_case_is_an_error(cases: Cases, content: bytes) -> None:
    path = cases.directory / "case.yaml"
    path.write_bytes(content)
    assert main(["test", str(path)]) == 2


def test_nothing_to_test_is_an_error(cases: Cases) -> None:
    assert cases.run()[0] == 2


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("policy: none.yaml", "case.yaml:1:1: error: the policy cannot be read"),
        ("config: none.yaml", "none.yaml: error: the file cannot be read"),
        ("api_gateway: {}", "case.yaml:1:1: error: `api_gateway` requires the key `routes`"),
        ("now: 2026-01-01T00:00:00Z", "case.yaml:1:1: error: the policy is missing"),
        (
            "fixtures: none.yaml\napi_gateway: {routes: [{path: /x}]}",
            "none.yaml: error: the file cannot be read",
        ),
    ],
)
def test_a_file_that_is_not_there_is_an_error(cases: Cases, named: str, text: str) -> None:
    cases.write(f"{named}\nrequests: {{x: GET /x}}\n")
    code, _, err = cases.run()
    assert code == 2
    assert err.startswith(text)


def test_a_policy_and_fixtures_may_stand_in_files_of_their_own(cases: Cases) -> None:
    table, _, rest = CASE.partition("principals:")
    people, _, wanted = rest.partition("requests:")
    cases.write(table, "routes.yaml")
    cases.write(f"principals:{people}", "people.yaml")
    cases.write(f"policy: routes.yaml\nfixtures: people.yaml\nrequests:{wanted}")
    assert cases.run()[0] == 0


def test_claims_with_times_are_judged_by_the_pinned_clock(cases: Cases) -> None:
    timed = CASE.replace('{sub: "8"}', '{sub: "8", permissions: [a:read], exp: 1767225600}')
    for now, reason in (("2026-01-01T00:00:29Z", "ok"), ("2026-01-01T00:00:30Z", "token_expired")):
        cases.write(f"now: {now}\n" + timed.replace("other: permission_denied", f"other: {reason}"))
        assert cases.run()[0] == 0


def test_coverage_names_what_was_not_shown(cases: Cases) -> None:
    cases.write(CASE)
    assert cases.run("--min-coverage", "100")[0] == 0
    cases.write(
        CASE.replace('  other: {claims: {sub: "8"}}\n', "").replace("    other: p", "    #")
    )
    code, out, _ = cases.run("--min-coverage", "100")
    assert code == 1
    assert out.splitlines()[:2] == [
        "case.yaml: 75 % coverage of 2 routes",
        "    closed (/closed): not covered: permissions",
    ]
    assert cases.run("--min-coverage", "75")[0] == 0


def test_a_failing_cell_shows_nothing(cases: Cases) -> None:
    cases.write(CASE.replace("reader: ok", "reader: deny"))
    assert "closed (/closed): not covered: allowed" in cases.run("--coverage")[1]


def test_junit_and_json_tell_the_same(cases: Cases) -> None:
    cases.write(CASE.replace("reader: ok", "reader: not_owner"))
    report = cases.directory / "report.xml"
    code, out, _ = cases.run("--json", "--junit", str(report), "--coverage")
    text = json.loads(out)
    suites = ET.parse(report).getroot()
    assert code == 1
    assert suites.get("tests") == str(text["decisions"]) == "6"
    (failure,) = text["failures"]
    assert failure["request"] == "closed"
    assert failure["differences"] == [{"what": "reason", "wanted": "not_owner", "got": "ok"}]
    (case,) = suites.findall(".//testcase[failure]")
    assert case.get("name") == "closed by reader"
    assert text["coverage"][0]["percent"] == 75.0


def test_watching_runs_again_when_a_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text("1")
    runs: list[str] = []

    def do() -> list[Path]:
        runs.append(path.read_text())
        if len(runs) == 2:
            raise KeyboardInterrupt
        return [path, tmp_path / "not-there"]

    with pytest.raises(KeyboardInterrupt):
        watch(do, wait=lambda: void(path.write_text("changed")))
    assert runs == ["1", "changed"]


def void(_: object) -> None:
    """Drop a result."""


def test_only_routes_that_are_new_or_changed_must_reach_the_coverage(
    cases: Cases, tmp_path: Path
) -> None:
    """A name, a target and the order of routes change nothing; an issuer may have gone."""
    table = """\
api_gateway:
  routes:
    - {path: /closed, name: closed, target: new, permissions: [a:read]}
    - {path: /old, permissions: [old:read]}
    - {path: /open, auth_required: false}
"""
    cases.write(CASE.replace(CASE[: CASE.index("principals:")], table))
    old = tmp_path / "old.yaml.txt"
    old.write_text(
        "api_gateway: {routes: [{path: /old, permissions: [old:read]}, "
        "{path: /gone, issuers: [gone]}, {path: /open, auth_required: false}]}"
    )
    code, out, _ = cases.run("--changed-since", str(old))
    assert (code, "is new or changed" in out) == (0, False)
    old.write_text("api_gateway: {routes: [{path: /closed, permissions: [a:read]}]}")
    code, out, _ = cases.run("--changed-since", str(old))
    assert code == 1
    assert out.splitlines()[-1] == (
        "case.yaml: old (/old) is new or changed: 0 % coverage, less than the required 100 %"
    )
    assert cases.run("--changed-since", str(old), "--min-coverage", "0")[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api_gateway: {routes: [{path: x}]}", "a route's path begins with /"),
        ("", "the file is empty"),
        (None, "the policy cannot be read"),
    ],
)
def test_an_old_policy_with_errors_is_refused(
    cases: Cases, tmp_path: Path, text: str | None, message: str
) -> None:
    cases.write(CASE)
    old = tmp_path / "old.txt"
    if text is not None:
        old.write_text(text)
    code, _, err = cases.run("--changed-since", str(old))
    assert code == 2
    assert message in err

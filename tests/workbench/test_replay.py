"""`replay`: what another policy would change of decisions that were logged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.app import wiring
from sidecar.cli import main
from sidecar.config import load
from sidecar.core.reasons import Reason
from sidecar.ops.decision_log import render
from sidecar.workbench import replay as module
from sidecar.workbench.engine import PolicyEngine
from sidecar.workbench.explain import Explainer
from sidecar.workbench.explain_logged import explain_logged
from sidecar.workbench.logs import CallerField, UnusableLineError, read_line
from sidecar.workbench.rejudge import rejudge
from sidecar.workbench.replay import Kind, Replay
from tests.support.case_tokens import CASES
from tests.support.checks import ask, check_request, service
from tests.support.policies import HS256, live_bearer, snapshot

POLICY = """\
api_gateway:
  routes:
    - {path: /open/*, name: open, auth_required: false}
    - {path: /reads, name: reads, permissions: [a:read]}
    - {path: /plain, name: plain}
    - {path: '/users/{id}', name: users, owner: id}
"""
ALICE = {
    "subject": "7", "principal_kind": "user", "issuer": "zervi",
    "roles": ["user"], "permissions": ["a:read"],
}  # fmt: skip
ENVOY = {"subject": "7"}  # all that an access log contains about the caller


def line(path: str, reason: str, **others: Any) -> dict[str, Any]:
    """Return a logged decision."""
    return {"method": "GET", "host": "x", "path": path, "reason": reason, **others}


class Log:
    """A log and a policy in files, and the command on them."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.log = directory / "decisions.log"
        self.policy = directory / "routes.yaml"
        self.policy.write_text(POLICY)
        self._capsys = capsys

    def run(self, *lines: Mapping[str, Any], code: int = 0, more: tuple[str, ...] = ()) -> str:
        self.log.write_text("".join(json.dumps(each) + "\n" for each in lines))
        assert main(["replay", str(self.log), "--policy", str(self.policy), *more]) == code
        return self._capsys.readouterr().out

    def changes(self, *lines: Mapping[str, Any], code: int = 0) -> list[tuple[str, str, str, str]]:
        body = json.loads(self.run(*lines, code=code, more=("--json",)))
        assert not body["unusable"]
        return [(each["kind"], each["route"], each["old"], each["new"]) for each in body["changes"]]


@pytest.fixture
def log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Log:
    return Log(tmp_path, capsys)


@pytest.mark.parametrize(
    ("logged", "change"),
    [
        (line("/reads", "ok", **ALICE), None),
        (line("/reads", "permission_denied", **ALICE), ("newly allowed", "reads", "ok")),
        (line("/open/1", "token_missing"), ("newly allowed", "open", "public")),
        (line("/open/1", "token_expired"), ("newly allowed", "open", "public")),
        (line("/open/1", "public"), None),
        # A gateway had no instance; its policy allowed the request.
        (line("/open/1", "no_upstream"), None),
        (line("/reads", "no_upstream", **ALICE), None),
        (line("/users/8", "no_upstream", **ALICE), ("newly denied", "users", "not_owner")),
        (line("/none", "ok", route="old", **ALICE), ("newly denied", "old", "no_route")),
        (line("/none", "public", route="old"), ("newly denied", "old", "no_route")),
        (line("/plain", "public"), ("newly denied", "plain", "token_missing")),
        (line("/plain", "token_expired"), None),
        (line("/users/8", "ok", **ALICE), ("newly denied", "users", "not_owner")),
        (line("/users/7", "not_owner", **ENVOY), ("newly allowed", "users", "ok")),
        (
            line("/reads", "role_denied", **{**ALICE, "permissions": []}),
            ("denied for another reason", "reads", "permission_denied"),
        ),
        (
            line("/none", "permission_denied", route="x", **ALICE),
            ("denied for another reason", "x", "no_route"),
        ),
        (line("//", "ok", route="x", **ALICE), ("newly denied", "x", "malformed_request")),
    ],
)
def test_changes_are_grouped_by_route_and_reason(
    log: Log, logged: dict[str, Any], change: tuple[str, str, str] | None
) -> None:
    code = 1 if change and change[0] == Kind.NEWLY_ALLOWED else 0
    expected = [(change[0], change[1], logged["reason"], change[2])] if change else []
    assert log.changes(logged, code=code) == expected


@pytest.mark.parametrize(
    "logged",
    [
        line("/reads", "ok", **ENVOY),  # its permissions are not in the log
        line("/plain", "no_route"),  # the caller was not authenticated
        line("/reads", "method_not_allowed"),
    ],
)
def test_what_the_log_cannot_tell_is_unknown_and_said(log: Log, logged: dict[str, Any]) -> None:
    out = log.run(logged, code=1)
    assert "1 request cannot be judged" in out
    assert out.endswith("0 denied for another reason; 1 unknown\n")


def test_nothing_judged_is_a_failure_whatever_is_accepted(log: Log) -> None:
    """An empty log, too: a pipeline that replays nothing shows nothing."""
    log.run(code=1, more=("--accept",))
    log.run(line("/plain", "no_route"), code=1, more=("--accept", "--max-unknown", "100"))


@pytest.mark.parametrize(("percent", "code"), [("0", 1), ("24.9", 1), ("25", 0), ("100", 0)])
def test_more_unknown_than_is_wanted_is_a_failure(log: Log, percent: str, code: int) -> None:
    lines = [line("/reads", "ok", **ALICE)] * 3 + [line("/reads", "ok", **ENVOY)]
    log.run(*lines, code=code, more=("--max-unknown", percent))


@pytest.mark.parametrize("percent", ["-1", "101", "nan", "x"])
def test_a_share_is_a_percentage(
    log: Log, capsys: pytest.CaptureFixture[str], percent: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        log.run(more=("--max-unknown", percent))
    assert f"invalid percentage value: '{percent}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "others", "known"),
    [
        ("/service", {"principal_kind": "user"}, True),  # only the kind decides
        ("/service", {"principal_kind": "service"}, True),
        ("/service", {}, False),
        ("/users/7", {"principal_kind": "user"}, True),  # permissions could only waive more
        ("/users/8", {"principal_kind": "user"}, False),
        ("/from", {"principal_kind": "user", "issuer": "zervi"}, True),
        ("/from", {"principal_kind": "user"}, False),
    ],
)
def test_what_a_log_without_roles_tells_is_used(
    log: Log, path: str, others: dict[str, Any], known: bool
) -> None:
    log.policy.write_text(
        "api_gateway:\n  routes:\n"
        "    - {path: /service, principals: [service]}\n"
        "    - {path: '/users/{id}', owner: id, owner_unless: [all]}\n"
        "    - {path: /from, issuers: [zervi]}\n"
    )
    out = log.run(line(path, "not_owner", **ENVOY, **others), more=("--accept",), code=not known)
    assert out.endswith("0 unknown\n" if known else "1 unknown\n")


def test_newly_allowed_comes_first_and_fails_unless_accepted(log: Log) -> None:
    lines = [line("/none", "ok", route="old", **ALICE)] * 3
    lines += [line("/reads", "permission_denied", **ALICE)] * 2
    out = log.run(*lines, code=1)
    *changes, summary = out.splitlines()
    assert changes == [
        "newly allowed:",
        "  reads: permission_denied -> ok, 2 requests",
        "          2 GET /reads by 7",
        "newly denied:",
        "  old: ok -> no_route, 3 requests",
        "          3 GET /none by 7",
    ]
    assert summary.startswith("replay: 5 requests; 2 newly allowed, 3 newly denied, 0 denied for")
    assert log.run(*lines, more=("--accept",)) == out


def test_a_log_with_only_denials_has_a_note(log: Log) -> None:
    assert "the log contains only denials" in log.run(line("/none", "no_route"))
    assert "denials only" not in log.run(line("/none", "no_route"), line("/open/1", "public"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no json\n", "not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b"{}\n", "method, path or reason is missing"),
        (b"\xff\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"x" * 300_000 + b"\n", "too long"),
        (json.dumps(line("/x", "preflight")).encode(), "a preflight"),
        (json.dumps(line("/x", "preflight_answered")).encode(), "a preflight"),
        (
            json.dumps(line("/x", "internal")).encode(),
            "denied because of the sidecar's state, not the policy",
        ),
        (json.dumps(line("/x", "made_up")).encode(), "method, path or reason is missing"),
    ],
)
def test_a_line_that_cannot_be_used_is_counted_by_cause(
    log: Log, capsys: pytest.CaptureFixture[str], content: bytes, why: str
) -> None:
    log.log.write_bytes(content)
    assert main(["replay", str(log.log), "--policy", str(log.policy)]) == 1
    out, err = capsys.readouterr()
    assert f"skipped: {why}" in out
    assert "no request could be judged" in err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
FIELDS = [
    "method", "path", "host", "reason", "subject", "principal_kind", "issuer", "roles",
    "permissions", "decision_id", "route", "detail",
]  # fmt: skip
REPLAYED = load(CASES / "config" / "sidecar.yaml", {}, offline=True)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from([*Reason, "/x", "\ud800"])))
def test_any_log_line_is_replayed_or_refused(entry: dict[str, Any]) -> None:
    """Whatever a log holds, nothing else is raised."""
    replay = Replay(wiring.snapshot(REPLAYED), 0.0)
    list(replay.take([json.dumps({**line("/both", "ok"), **entry}).encode()]))
    assert replay.requests + sum(replay.unusable.values()) == 1


@given(st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from([*Reason, "/x", "\ud800"])))
def test_any_log_line_that_is_replayed_is_explained(entry: dict[str, Any]) -> None:
    """With a verdict exactly where the replay has one, and it is the same."""
    try:
        logged = read_line(json.dumps({**line("/both", "ok"), **entry}).encode())
    except UnusableLineError:
        return
    engine = PolicyEngine(REPLAYED, 0.0)
    explanation = explain_logged(Explainer(engine, "", REPLAYED.route_lines), logged)
    new = rejudge(logged, engine.snapshot, 0.0)
    if explanation.verdict:
        assert new is not None
        assert new.reason == explanation.judged.decision.reason
    else:
        assert new is None or logged.token_failed


def test_memory_does_not_grow_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds of change and the requests named of each are bounded, and all are counted."""
    monkeypatch.setattr(module, "MAX_GROUPS", 5)
    replay = Replay(wiring.snapshot(REPLAYED), 0.0)
    lines = (
        json.dumps(line(f"/none/{n}", "ok", route=f"r{n % 100}", **ALICE)).encode()
        for n in range(1000)
    )
    assert list(replay.take(lines))[-1] == 1000
    assert len(replay.groups) == 6
    assert all(len(each.samples) <= module.MAX_SAMPLES for each in replay.groups.values())
    assert replay.count(Kind.NEWLY_DENIED) == 1000


def test_what_the_sidecar_logs_can_be_replayed() -> None:
    """A line written with log.replayable, read back, is the request and its caller."""
    records: list[Any] = []
    checks = service(snapshot(), records=records)
    ask(checks, check_request(headers=live_bearer(role="user", permissions=["closed:read"])))
    logged = read_line(render(records[0], replayable=True))
    principal = records[0].decision.verified.principal
    assert not logged.lacks
    assert logged.principal == principal
    assert logged.request.target == b"/closed/1"
    assert read_line(render(records[0])).lacks == {CallerField.HELD}


def test_what_a_star_came_to_can_be_replayed() -> None:
    """The log tells it apart from the text of a permission that is spelt so."""
    records: list[Any] = []
    limited = (HS256._replace(grantable=("closed:*",)),)
    checks = service(snapshot(issuers=limited), records=records)
    for permissions in (["*"], ["closed:*"]):
        ask(checks, check_request(headers=live_bearer(permissions=permissions)))
    assert [record.decision.reason for record in records] == ["ok", "permission_denied"]
    for record in records:
        logged = read_line(render(record, replayable=True))
        assert logged.principal == record.decision.verified.principal


def test_text_beyond_ascii_is_read_as_the_sidecar_escapes_it(log: Log) -> None:
    entry = line("/reads", "permission_denied", **{**ALICE, "subject": "张伟 \U0001f600"})
    assert "by 张伟 \U0001f600" in log.run(entry, code=1)


def test_an_access_log_of_envoy_can_be_replayed(log: Log) -> None:
    """By the names that envoy/envoy.yaml gives; a dash is nothing."""
    entry = line("/open/1", "token_missing", status=401, subject=None, route="-", details="x")
    assert log.changes(entry, code=1) == [("newly allowed", "open", "token_missing", "public")]


def test_lines_without_a_reason_are_not_decisions() -> None:
    with pytest.raises(UnusableLineError):
        read_line(json.dumps({"method": "GET", "path": "/x", "status": 200}).encode())


@pytest.mark.parametrize(
    ("policy", "logs", "message"),
    [
        ("none.yaml", ["decisions.log"], "the policy cannot be read"),
        ("routes.yaml", ["none.log"], "none.log cannot be read"),
        ("bad.yaml", ["decisions.log"], "bad.yaml:1:1: error"),
    ],
)
def test_what_cannot_be_read_is_exit_2(
    log: Log,
    policy: str,
    logs: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    log.log.write_text("")
    Path("bad.yaml").write_text("x: 1")
    assert main(["replay", *logs, "--policy", policy]) == 2
    assert message in capsys.readouterr().err

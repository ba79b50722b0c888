"""`explain --decision-id --log`: a request of the decision log is judged again."""

import json
from pathlib import Path

import pytest

from sidecar.config import load
from tests.workbench.conftest import SIDECAR, Explain

LINES: list[dict[str, object]] = [
    {"decision_id": "a1", "method": "GET", "host": "x", "path": "/both",
     "reason": "permission_denied", "subject": "7", "principal_kind": "user",
     "issuer": "zervi", "roles": ["user"],
     "permissions": ["orders:read"]},
    {"decision_id": "a2", "method": "GET", "host": "x", "path": "/both", "reason": "token_expired",
     "detail": "expired 9 s ago"},
    {"decision_id": "a3", "method": "GET", "host": "x", "path": "/both", "reason": "ok",
     "subject": "7", "principal_kind": "user", "issuer": "zervi", "policy_digest": "0123"},
    {"decision_id": "a4", "method": "GET", "host": "x", "path": "/both", "reason": "no_route"},
    {"decision_id": "a5", "method": "GET", "host": "x", "path": "/both",
     "reason": "permission_denied", "subject": "7", "needs": ["orders:admin"]},
    {"decision_id": "a6", "method": "GET", "host": "x", "path": "/none", "reason": "token_expired"},
    {"decision_id": "a7", "method": "GET", "host": "x", "path": "/users/7/orders", "reason": "ok",
     "subject": "7", "principal_kind": "user", "issuer": "zervi"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("decision_id", "message"),
    [
        ("a1", "missing: orders:admin"),
        ("a1", "\nnote: logged decision: deny, permission_denied\n  ✓ path"),
        ("a1", "DENY permission_denied, HTTP 403"),
        ("a1", '"decision_id": "a1"'),
        ("a2", "logged decision: deny, token_expired (expired 9 s ago)"),
        ("a2", "  · credential      logs contain no token\n\nno verdict"),
        (
            "a3",
            (
                "\nnote: this log is not enough to judge: it does not contain the "
                "caller's roles and permissions "
                "(log.replayable); logged decision: allow, ok\n"
                "note: the policy has changed since: 0123 in the log, "
            ),
        ),
        ("a3", "  ✓ claims          user 7; roles and permissions are not in the log\n"),
        (
            "a3",
            "  · permissions     all of orders:read, orders:admin; not judged: the log does not ",
        ),
        (
            "a3",
            "routes.yaml:20\n  ✓ token           the claims count as verified, issued by z",
        ),
        (
            "a4",
            "this log is not enough to judge: the caller was not authenticated; logged ",
        ),
        (
            "a5",
            (
                "caller's kind, issuer, roles and permissions (log.replayable); logged decision: "
                "deny, permission_denied, needs orders:admin"
            ),
        ),
        ("a6", "DENY no_route"),
        ("a7", "ALLOW ok"),
    ],
)
def test_a_logged_request_is_explained_afresh(
    explain: Explain, tmp_path: Path, decision_id: str, message: str
) -> None:
    log = tmp_path / "decisions.log"
    log.write_text("no json\n" + "".join(json.dumps(line) + "\n" for line in LINES))
    assert message in explain("--decision-id", decision_id, "--log", str(log))


@pytest.mark.parametrize("decision_id", ["a2", "a3", "a4", "a5"])
def test_a_log_without_enough_data_gets_no_verdict(
    explain: Explain, tmp_path: Path, decision_id: str
) -> None:
    """Nothing is shown as decided, and no step as failed."""
    log = tmp_path / "decisions.log"
    log.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    asked = ("--decision-id", decision_id, "--log", str(log))
    out = explain(*asked)
    assert out.endswith("\n\nno verdict\n")
    assert "✗" not in out
    body = json.loads(explain(*asked, "--json"))
    assert [body[key] for key in ("decision", "reason", "status", "answer")] == [None] * 4
    assert body["notes"]


def test_a_policy_that_is_the_same_is_not_called_changed(explain: Explain, tmp_path: Path) -> None:
    digest = load(Path(SIDECAR), {}, offline=True).policy.digest
    log = tmp_path / "decisions.log"
    log.write_text(json.dumps({**LINES[0], "policy_digest": digest}))
    assert "changed" not in explain("--decision-id", "a1", "--log", str(log))

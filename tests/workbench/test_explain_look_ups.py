"""`explain` shows each look-up as a step, with the answer that it assumes."""

import json
from pathlib import Path

import pytest

from tests.edge.config_files import ENVIRON, POLICY, Files
from tests.workbench.conftest import Explain

ROUTES = 'api_gateway: {routes: [{path: "/read", permissions: ["data:read"]}, {path: "/any"}]}\n'
URL = "https://z/users/{subject}/permissions"


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Explain:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return Explain(capsys)


def configured(tmp_path: Path, permissions: str = "", issuer: str = "") -> str:
    files = Files(tmp_path)
    more = f', permissions: {{url: "{URL}", {permissions}}}' if permissions else ""
    name = "issuer: zervi, secret_env: ZERVI_JWT_SECRET"
    zervi = f"zervi: {{issuers: [{{{name}{issuer}}}]{more}}}\n"
    files.write(sidecar=zervi + POLICY, routes=ROUTES)
    return str(files.config)


def introspecting(tmp_path: Path, when: str) -> str:
    asked = f'introspection: {{kind: rfc7662, url: "https://z/introspect", when: {when}}}'
    return configured(tmp_path, issuer=f", {asked}")


@pytest.mark.parametrize("when", ["missing", "always"])
@pytest.mark.parametrize(
    ("given", "said", "reason"),
    [
        ((), "no permissions; --permissions gives another", "permission_denied"),
        (("--permissions", "data:read, a"), "data:read, a", "ok"),
        (("--permissions", '["data:read"]'), "data:read", "ok"),
        (("--permissions", '{"permissions": [], "user_id": "张"}'), "no permissions", ""),
        (("--permissions", '{"success": false}'), "no permissions", "permission_denied"),
    ],
)
def test_a_look_up_of_permissions_is_a_step(
    explain: Explain, tmp_path: Path, when: str, given: tuple[str, ...], said: str, reason: str
) -> None:
    config = configured(tmp_path, f"when: {when}")
    asked = ("--path", "/read", "--claims", '{"user_id": "张"}', *given)
    asked_at = URL.replace("{subject}", "%E5%BC%A0")
    step = ("look-up", None, f"permissions are asked for at {asked_at}; assumed answer: {said}")
    assert step in explain.steps(*asked, config=config)
    body = json.loads(explain(*asked, "--json", config=config))
    assert body["reason"] == (reason or "permission_denied")


def test_the_permissions_of_given_claims_are_the_assumed_answer(
    explain: Explain, tmp_path: Path
) -> None:
    """So that the cases of a policy say the same with `when: always`."""
    config = configured(tmp_path, "when: always")
    claims = '{"user_id": 7, "permissions": ["data:read"]}'
    steps = explain.steps("--path", "/read", "--claims", claims, config=config)
    assert any("assumed answer: data:read;" in text for _, _, text in steps)
    assert ("permissions", True, "all of data:read") in steps
    assert not any("may not grant" in text for _, _, text in steps)


def test_an_answer_about_another_user_is_a_step_that_fails(
    explain: Explain, tmp_path: Path
) -> None:
    config = configured(tmp_path, "ttl: 1m")
    asked = ("--path", "/read", "--claims", '{"user_id": 7}')
    other = ("--permissions", '{"permissions": ["data:read"], "user_id": 8}')
    steps = explain.steps(*asked, *other, config=config)
    assert ("look-up", False) in [step[:2] for step in steps]
    body = json.loads(explain(*asked, *other, "--json", config=config))
    assert body["reason"] == "not_ready"


def test_a_route_that_needs_no_permissions_has_no_such_step(
    explain: Explain, tmp_path: Path
) -> None:
    config = configured(tmp_path, "ttl: 1m")
    steps = explain.steps("--path", "/any", "--claims", '{"user_id": 7}', config=config)
    assert "look-up" not in [name for name, _, _ in steps]


@pytest.mark.parametrize(
    ("given", "said", "reason"),
    [
        ((), "the answer is not known: give one with --introspection", "not_ready"),
        (
            ("--introspection", '{"active": true, "sub": "7"}'),
            "assumed answer: active; it counts for 30 s, and for 600 s",
            "ok",
        ),
        (("--introspection", '{"active": false}'), "assumed answer: not active", "token_revoked"),
        (("--introspection", "{}"), "the answer is not usable", "not_ready"),
    ],
)
def test_an_opaque_token_is_a_step(
    explain: Explain, tmp_path: Path, given: tuple[str, ...], said: str, reason: str
) -> None:
    config = introspecting(tmp_path, "opaque")
    asked = ("--path", "/any", "--token", "opaque", *given)
    steps = explain.steps(*asked, config=config)
    assert any(name == "look-up" and said in text for name, _, text in steps)
    assert json.loads(explain(*asked, "--json", config=config))["reason"] == reason


def test_a_jwt_that_is_always_asked_about_counts_as_active_unless_an_answer_is_given(
    explain: Explain, tmp_path: Path
) -> None:
    config = introspecting(tmp_path, "always")
    asked = ("--path", "/any", "--claims", '{"user_id": 7}')
    steps = explain.steps(*asked, config=config)
    assert any("assumed answer: active; --introspection gives" in text for _, _, text in steps)
    ended = (*asked, "--introspection", '{"active": false}')
    assert json.loads(explain(*ended, "--json", config=config))["reason"] == "token_revoked"


@pytest.mark.parametrize("option", ["--permissions", "--introspection"])
def test_an_answer_to_what_is_not_asked_is_a_wrong_call(
    explain: Explain, tmp_path: Path, option: str
) -> None:
    told = explain("--path", "/any", option, "{}", code=2, config=configured(tmp_path))
    assert f"{option} needs" in told

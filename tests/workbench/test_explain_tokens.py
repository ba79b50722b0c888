"""`explain --token`: each check of a token, with which keys, and what its issuer can grant."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.edge import key_server
from tests.edge.config_files import ENVIRON, POLICY, SECRET, Files
from tests.support import signing
from tests.support.case_tokens import CASES, KEY, literal_tokens
from tests.workbench.conftest import PEOPLE, TOKEN_FILE, Explain


def test_each_check_of_a_token_is_shown(explain: Explain) -> None:
    expired = explain.steps("--path", "/closed/1", "--as", "expired", "--fixtures", TOKEN_FILE)
    assert [(name, held) for name, held, _ in expired[2:]] == [
        ("credential", True), ("form", True), ("issuer", True), ("times", False),
    ]  # fmt: skip
    malformed = explain.steps("--path", "/closed/1", "--token", "x")
    assert malformed[-1] == ("form", False, "token_malformed: not three parts")


def test_keys_may_be_brought_along(explain: Explain, tmp_path: Path) -> None:
    """For issuers whose keys are behind a URL, which explaining does not fetch."""
    config = tmp_path / "sidecar.yaml"
    config.write_text(
        "zervi: {issuers: [{issuer: zervi, jwks_url: https://z/keys, algorithms: [EdDSA]}]}\n"
        "policy: {file: routes.yaml}\n"
    )
    (tmp_path / "routes.yaml").write_text("api_gateway: {routes: [{path: /x}]}")
    token = signing.token(
        {"iss": "zervi", "sub": "7", "exp": time.time() + 600}, KEY, "EdDSA", kid="k1"
    ).decode()
    asked = ("--path", "/x", "--token", token)
    missing = "there is no key set of this issuer here: use --fetch, or --jwks with a file"
    told = explain(*asked, config=str(config))
    assert f"not_ready: {missing}" in told
    assert f"DENY not_ready, HTTP 503\n  detail: {missing}\n" in told
    keys = str(CASES / "config" / "keys.json")
    assert "ALLOW ok" in explain(*asked, "--jwks", keys, config=str(config))
    assert "is not a usable key set" in explain(
        *asked, "--jwks", PEOPLE, config=str(config), code=2
    )


async def test_keys_are_fetched_when_asked(explain: Explain, tmp_path: Path) -> None:
    """And a server without them is named, with the cause."""
    token = signing.token(
        {"iss": "zervi", "sub": "7", "exp": time.time() + 600}, KEY, "EdDSA", kid="k1"
    ).decode()
    (tmp_path / "routes.yaml").write_text("api_gateway: {routes: [{path: /x}]}")
    config = tmp_path / "sidecar.yaml"
    async with key_server.serving(
        key_server.document((CASES / "config" / "keys.json").read_bytes())
    ) as server:
        issuer = f"{{issuer: zervi, jwks_url: {server.url!r}, algorithms: [EdDSA]}}"
        config.write_text(f"zervi: {{issuers: [{issuer}]}}\npolicy: {{file: routes.yaml}}\n")
        asked = ("--path", "/x", "--token", token, "--fetch")
        told = await asyncio.to_thread(explain, *asked, config=str(config))
        assert "ALLOW ok" in told
        server.answer = key_server.redirects
        told = await asyncio.to_thread(explain, *asked, config=str(config))
        assert "DENY not_ready" in told


def test_the_token_is_never_printed(explain: Explain) -> None:
    token = literal_tokens()["signed"]
    for more in ((), ("--json",)):
        assert token.split(".")[1] not in explain("--path", "/both", "--token", token, *more)


def test_what_an_issuer_may_not_grant_is_shown(
    explain: Explain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, whether the claims are taken as verified or were verified."""
    files = Files(tmp_path)
    files.write(
        sidecar="zervi: {issuers: [{issuer: partner, secret_env: ZERVI_JWT_SECRET, "
        'grantable: ["orders:*"], grantable_roles: [user]}]}\n' + POLICY,
        routes="api_gateway: {routes: [{path: /x, permissions: [orders:read]}]}\n",
    )
    claims = {"permissions": ["*", "orders:a", "users:read"], "roles": ["admin", "user"]}
    good = {"iss": "partner", "user_id": 7, "exp": int(time.time()) + 600, **claims}
    token = signing.token(good, SECRET.encode(), "HS256").decode()
    monkeypatch.setenv("ZERVI_JWT_SECRET", ENVIRON["ZERVI_JWT_SECRET"])
    for caller in (("--claims", json.dumps(claims | {"user_id": 7})), ("--token", token)):
        body = json.loads(explain("--path", "/x", *caller, "--json", config=str(files.config)))
        assert body["decision"] == "allow"
        steps = [step["text"] for step in body["steps"] if step["name"] == "grantable"]
        assert steps == [
            "partner may grant only orders:* for `*`",
            "partner may not grant the roles admin",
            "partner may not grant the permissions users:read",
        ]
        (who_is,) = [step["text"] for step in body["steps"] if step["name"] == "claims"]
        assert who_is.endswith("roles user; permissions orders:a, orders:*")

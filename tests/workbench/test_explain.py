"""`explain` says what the service does, and why."""

import json
from pathlib import Path

import pytest

from tests.edge.config_files import ISSUERS, POLICY, SECRET, Files
from tests.support.case_tokens import CASES
from tests.workbench.conftest import PEOPLE, SIDECAR, Explain


def test_a_missing_permission_is_named(explain: Explain) -> None:
    steps = explain.steps("--path", "/both", "--as", "alice", "--fixtures", PEOPLE)
    assert [name for name, _, _ in steps if name != "claim"] == [
        "path", "route", "credential", "token", "claims", "principals", "permissions",
    ]  # fmt: skip
    lacking = "permission_denied: all of orders:read, orders:admin; missing: orders:admin"
    assert steps[-1] == ("permissions", False, lacking)


def test_both_sides_of_a_condition_and_of_callers_are_shown(
    explain: Explain, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    files.write(
        routes="api_gateway: {routes: [{path: '/t/{tenant}', callers: ['spiffe://x/a'], "
        "claims: {tenant: '{tenant}', verified: true}}]}"
    )
    asked = ("--path", "/t/y", "--claims", '{"user_id": 7, "tenant": "x"}')
    called = explain.steps(*asked, "--peer", "spiffe://x/a", config=str(files.config))
    assert ("callers", True, "spiffe://x/a") in called
    refused = "tenant must be y, the token has x; verified must be true, the token does not have it"
    assert called[-1] == ("claims", False, f"claim_denied: {refused}")
    for peer, said in (("spiffe://x/b", "spiffe://x/b is not in callers"), ("", "no mesh")):
        step = explain.steps(*asked, "--peer", peer, config=str(files.config))[-1]
        assert step[:2] == ("callers", False)
        assert said in step[2]


CLAIMS = """
zervi:
  issuers:
    - issuer: zervi
      secret_env: ZERVI_JWT_SECRET
      claims:
        roles: [role, [realm_access, roles], [apps, "*", roles], [flags, "*"]]
        permissions: [permissions, {claim: scope, split: space}, items]
        headers: {x-tenant: [[org, tid], tid], x-verified: [email_verified]}
"""


@pytest.mark.parametrize(
    ("claims", "part", "wanted"),
    [
        (
            {},
            "permissions",
            "permissions is not in the token; scope, split at each space is",
        ),
        (
            {"permissions": "a b"},
            "permissions",
            "permissions is text, ignored: {claim",
        ),
        ({"permissions": {"a": 1}}, "permissions", "permissions is an object, ignored"),
        ({"permissions": True}, "permissions", "permissions is a boolean, ignored"),
        ({"permissions": None}, "permissions", "permissions is null, ignored"),
        ({"permissions": 5}, "permissions", "permissions is a number, ignored"),
        ({"permissions": ["a", 1]}, "permissions", "permissions is a list, read"),
        (
            {"permissions": ["a", 1.5, []]},
            "permissions",
            "is a list, 2 of 3 items ignored",
        ),
        ({"scope": "a b"}, "permissions", "scope, split at each space is text, read"),
        ({"role": 5}, "roles", "role is a number, read as text"),
        ({"role": 5.5}, "roles", "role is a number with a fraction, ignored"),
        ({"role": ""}, "roles", "role is empty, ignored"),
        ({"realm_access": {"roles": ["a"]}}, "roles", "[realm_access, roles] is a list, read"),
        ({"realm_access": ["a"]}, "roles", "[realm_access, roles] is not in the token"),
        (
            {"apps": {"a": {"roles": "x"}, "b": {"roles": {}}}},
            "roles",
            "leads to 2 values, 1 ignored",
        ),
        ({"flags": {"a": True}}, "roles", "[flags, *] leads to 1 value, read"),
        ({"flags": dict.fromkeys(map(str, range(2000)), 1)}, "", "reaches more than 1000 values"),
        ({"username": "u"}, "username", "username is text, read"),
        ({"email": []}, "email", "email is a list, "),
        ({"org": {"tid": "t"}}, "x-tenant", "[org, tid] is text, read; tid is not in the token"),
        ({"email_verified": False}, "x-verified", "email_verified is a boolean, read"),
    ],
)
def test_what_each_claim_holds_is_shown(
    explain: Explain,
    claims: dict[str, object],
    part: str,
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = Files(tmp_path)
    files.write(sidecar=CLAIMS + POLICY)
    monkeypatch.setenv("ZERVI_JWT_SECRET", SECRET)
    given = json.dumps({"user_id": 7, **claims})
    steps = explain.steps("--path", "/x", "--claims", given, config=str(files.config))
    told = [text for _, _, text in steps if text.startswith(f"{part}: ") or not part]
    assert any(wanted in text for text in told), steps


def test_steps_after_the_first_failure_are_shown_too(explain: Explain) -> None:
    """Each requirement by itself: who lacks two things learns of both."""
    claims = '{"service_id": "7"}'
    steps = explain.steps("--path", "/users/7/orders", "--claims", claims)
    assert [name for name, held, _ in steps if held is False] == ["principals", "owner"]


def test_the_answer_is_what_envoy_gets(explain: Explain) -> None:
    body = json.loads(explain("--path", "/closed/1", "--header", "Accept-Language: zh", "--json"))
    assert (body["decision"], body["reason"], body["status"]) == ("deny", "token_missing", 401)
    assert body["route"] == "closed"
    assert body["route_at"].endswith("routes.yaml:7")
    assert json.loads(body["answer"]["body"])["message"] == "需要提供令牌"
    assert body["answer"]["headers"]["www-authenticate"] == 'Bearer realm="zervi"'


def test_routes_with_a_similar_path_are_listed_with_the_difference(explain: Explain) -> None:
    for path, lacks in (
        ("/closed", "the trailing * needs at least one more segment"),
        ("/READS", "`READS` and `reads` differ only in letter case"),
        ("/todays", "the route has `today`, not `todays`"),
        ("/users/7", "the route has one more segment, `orders`"),
    ):
        nearly = [text for name, _, text in explain.steps("--path", path) if name == "similar"]
        assert any(text.endswith(lacks) for text in nearly), path


@pytest.mark.parametrize(
    ("arguments", "name", "why"),
    [
        (
            ("--path", "/reads", "--method", "POST"),
            "route",
            "this path accepts GET, HEAD, not POST",
        ),
        (("--path", "/hosted"), "not selected", "only for api.jobfirst.local, not for localhost"),
        (("--path", "/open//1"), "path", "double slash"),
        (("--path", "/open/1", "--method", "G T"), "method", "invalid HTTP method 'G T'"),
    ],
)
def test_why_a_route_is_not_the_one(
    explain: Explain, arguments: tuple[str, ...], name: str, why: str
) -> None:
    assert any(step == name and why in text for step, _, text in explain.steps(*arguments))


def test_a_preflight_is_explained_by_what_it_asks_for(explain: Explain) -> None:
    steps = explain.steps(
        "--path", "/reads", "--method", "OPTIONS",
        "--header", "Origin: https://a", "--header", "Access-Control-Request-Method: GET",
    )  # fmt: skip
    assert steps[1] == ("preflight", None, "CORS preflight for GET")
    assert steps[-1] == ("preflight", False, "preflight_answered: no request reaches the upstream")


def test_the_reason_why_a_preflight_is_not_forwarded_is_shown(explain: Explain) -> None:
    forwarding = str(CASES / "config" / "forwarding.yaml")
    preflight = (
        "--path", "/open/secret/1", "--method", "OPTIONS", "--json",
        "--header", "Origin: https://a", "--header", "Access-Control-Request-Method: GET",
    )  # fmt: skip
    body = json.loads(explain(*preflight, config=forwarding))
    assert (body["decision"], body["reason"]) == ("allow", "preflight")
    body = json.loads(explain(*preflight, "--header", "Cookie: a=b", config=forwarding))
    assert body["reason"] == "token_missing"
    assert body["steps"][2]["text"].startswith("not a preflight")


def test_every_reading_of_a_path_is_shown(explain: Explain) -> None:
    elsewhere = str(CASES / "config" / "elsewhere.yaml")
    body = json.loads(explain("--path", "/open//secret/1", "--json", config=elsewhere))
    readings = [step["text"] for step in body["steps"] if step["name"] == "path"]
    assert "/open/secret/1, one of 2 readings" in readings
    assert body["reason"] == "token_missing"


def test_a_person_reads_plain_text_in_a_pipe(explain: Explain) -> None:
    out = explain("--path", "/closed/1", "--claims", '{"user_id": 7}')
    assert "\x1b" not in out
    assert "ALLOW ok" in out
    assert "  x-user-id: 7" in out


@pytest.mark.parametrize(
    ("route", "claims", "text"),
    [
        ("owner: id", {"permissions": ["*"]}, "; * does not make the caller the owner"),
        (
            "owner: id, owner_unless: [users:admin]",
            {"permissions": ["*"]},
            "; not required with users:admin, which * does not include",
        ),
        (
            "owner: id, principals: [user, service]",
            {"service_id": "8"},
            "the owner is 8, the caller is 8, a service, which never owns a path",
        ),
    ],
)
def test_why_the_caller_is_not_the_owner_is_told(
    explain: Explain, tmp_path: Path, route: str, claims: dict[str, object], text: str
) -> None:
    files = Files(tmp_path)
    files.write(routes=f'api_gateway: {{routes: [{{path: "/users/{{id}}", {route}}}]}}')
    files.write(sidecar=ISSUERS + POLICY)
    asked = ("--path", "/users/8", "--claims", json.dumps({"user_id": 7, **claims}))
    told = explain(*asked, config=str(files.config))
    assert "✗ owner           not_owner: " in told
    assert text in told


def test_a_reading_with_an_empty_segment_has_no_owner(explain: Explain, tmp_path: Path) -> None:
    """And the upstream that reads the path so is described, however many readings it combines."""
    files = Files(tmp_path)
    files.write(
        routes='api_gateway: {routes: [{path: /users}, {path: "/users/{id}", owner: id}]}',
        sidecar=ISSUERS + POLICY,
    )
    asked = ("--path", "/users/", "--claims", '{"user_id": 7}')
    told = explain(*asked, config=str(files.config))
    assert "not_owner: the owner's segment is empty in this reading of the path" in told
    assert "combines several readings" not in told
    assert " and whose {name} may be empty, this path is " in told


@pytest.mark.parametrize("target", ["/x//closed/1", "/x/../closed/1?a=../b"])
def test_what_envoy_makes_of_the_path_before_it_asks_is_shown(
    explain: Explain, target: str
) -> None:
    (told,) = [text for name, _, text in explain.steps("--path", target) if name == "envoy"]
    assert told.startswith("with normalize_path and merge_slashes, Envoy asks about /")
    assert told.endswith("closed/1 instead")


def test_a_case_file_has_principals_too(explain: Explain, tmp_path: Path) -> None:
    case = tmp_path / "case.yaml"
    case.write_text(
        f"config: {SIDECAR}\nfixtures: {PEOPLE}\n"
        "principals: {zoe: {claims: {user_id: 77}}}\nrequests: {a: GET /x}\n"
    )
    for name in ("zoe", "alice"):
        assert "ALLOW ok" in explain("--path", "/closed/1", "--as", name, "--fixtures", str(case))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--path or --decision-id is required"),
        (("--path", "/x", "--as", "alice"), "--as needs --fixtures"),
        (("--path", "/x", "--as", "zoe", "--fixtures", PEOPLE), "has no principal 'zoe'"),
        (("--path", "/x", "--claims", "{"), "neither JSON"),
        (("--path", "/x", "--claims", "none.json"), "cannot be read"),
        (("--path", "/x", "--claims", '{"iss": "x"}'), "unknown issuer 'x'"),
        (("--path", "/x", "--header", "x"), "--header takes NAME:VALUE"),
        (("--decision-id", "a", "--log", "none"), "cannot be read"),
        (("--decision-id", "a-1", "--log", PEOPLE), "no usable log line"),
    ],
)
def test_a_wrong_call_is_one_line(
    explain: Explain, arguments: tuple[str, ...], message: str
) -> None:
    err = explain(*arguments, code=2)
    assert message in err
    assert len(err.splitlines()) == 1


def test_an_error_in_the_configuration_is_reported(explain: Explain, tmp_path: Path) -> None:
    assert "cannot be read" in explain("--path", "/x", config=str(tmp_path / "none"), code=1)


def test_the_neighbour_reading_that_denies_is_shown(explain: Explain) -> None:
    """With the kind of upstream that reads the path so, and the requirement that fails."""
    elsewhere = str(CASES / "config" / "elsewhere.yaml")
    body = json.loads(explain("--path", "/open/secret", "--json", config=elsewhere))
    steps = [(step["name"], step["text"]) for step in body["steps"]]
    assert [name for name, _ in steps] == ["path", "route", "public", "neighbour", "credential"]
    assert steps[3][1].startswith(
        "for an upstream whose trailing * may be empty, this path is secret, /open/secret/* at "
    )
    assert (body["decision"], body["reason"], body["route"]) == ("deny", "token_missing", "secret")
    assert body["detail"].startswith("some upstreams route this path to /open/secret/*.")


def test_the_reading_of_the_host_that_denies_is_shown(explain: Explain, tmp_path: Path) -> None:
    """A host in another case has no routes of its own to some upstreams."""
    files = Files(tmp_path)
    files.write(
        sidecar=ISSUERS + POLICY,
        routes="api_gateway: {routes: [{path: /x, hosts: [a.test], auth_required: false}, "
        "{path: /x}]}",
    )
    config = str(files.config)
    output = explain("--path", "/x", "--host", "A.test", config=config)
    assert "for an upstream that compares hosts without normalising them, this path is " in output
    assert "DENY token_missing" in output
    assert "ALLOW public" in explain("--path", "/x", "--host", "a.test", config=config)

"""What a valid `zervi` becomes: issuers, claims, and what an issuer can grant."""

from pathlib import Path

import pytest

from sidecar.app import wiring
from sidecar.core.tokens.claims import Path as ClaimPath
from sidecar.core.tokens.claims import Split
from sidecar.core.tokens.issuers import ClaimNames
from tests.edge.config_files import POLICY, SECRET, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_an_issuer_with_a_secret_signs_with_hs256_only(files: Files) -> None:
    (issuer,) = files.load().issuers
    assert issuer.algorithms == {"HS256"}
    assert issuer.secrets == (SECRET.encode(),)
    assert issuer.keys is None


def test_an_issuer_with_keys_has_no_secret(files: Files) -> None:
    files.write(
        sidecar="zervi:\n  issuers:\n"
        "    - {issuer: a, jwks_url: 'http://127.0.0.1/', audiences: [b, c]}\n" + POLICY
    )
    (issuer,) = files.load().issuers
    assert issuer.algorithms == {"RS256", "ES256", "EdDSA", "Ed25519"}
    assert issuer.secrets == ()
    assert issuer.audiences == {"b", "c"}


def test_two_issuers_may_share_a_name_while_moving_from_a_secret_to_keys(files: Files) -> None:
    files.write(
        sidecar="zervi:\n  issuers:\n"
        "    - {issuer: zervi, jwks_url: 'http://127.0.0.1/'}\n"
        "    - {issuer: zervi, secret_env: ZERVI_JWT_SECRET}\n" + POLICY
    )
    assert [issuer.name for issuer in files.load().issuers] == ["zervi", "zervi"]


def test_an_issuers_own_claims_and_roles_count_only_for_it(files: Files) -> None:
    files.write(
        sidecar="""
zervi:
  issuers:
    - {issuer: a, secret_env: ZERVI_JWT_SECRET}
    - issuer: b
      secret_env: ZERVI_JWT_SECRET
      claims: {subject: [uid]}
      role_permissions: {reader: [read]}
  claims: {email: [mail]}
  role_permissions: {root: ["*"]}
"""
        + POLICY
    )
    shared, own = files.load().issuers
    assert shared.claims == ClaimNames(email=("mail",))
    assert shared.role_permissions == {"root": ("*",)}
    assert own.claims == ClaimNames(subject=("uid",), email=("mail",))
    assert own.role_permissions == {"reader": ("read",)}


def test_a_claim_is_a_name_a_path_or_a_text_to_be_split(files: Files) -> None:
    files.write(
        sidecar="""
zervi:
  issuers:
    - {issuer: a, secret_env: ZERVI_JWT_SECRET}
    - issuer: b
      secret_env: ZERVI_JWT_SECRET
      claims: {permissions: [permissions, {claim: scope, split: space}], headers: {X-Org: [org]}}
  claims:
    roles: [role, roles, [realm_access, roles], [resource_access, "*", roles], [tid]]
    permissions: [{claim: [ext, scp], split: comma}]
    headers: {X-Tenant-Id: [tid, [ext, tid]]}
"""
        + POLICY
    )
    config = files.load()
    shared, own = (issuer.claims for issuer in config.issuers)
    realm, clients = (
        ClaimPath(("realm_access", "roles")),
        ClaimPath(("resource_access", "*", "roles")),
    )
    assert shared.roles == own.roles == ("role", "roles", realm, clients, "tid")
    assert shared.permissions == (Split(ClaimPath(("ext", "scp")), ","),)
    assert own.permissions == ("permissions", Split("scope", " "))
    assert shared.headers == {"x-tenant-id": ("tid", ClaimPath(("ext", "tid")))}
    assert own.headers == {"x-org": ("org",)}
    assert {"x-tenant-id", "x-org"} < {*wiring.answers(config).never_from_clients()}


def test_what_an_issuer_can_grant_is_its_own(files: Files) -> None:
    files.write(
        sidecar="""
zervi:
  issuers:
    - {issuer: a, secret_env: ZERVI_JWT_SECRET}
    - issuer: b
      secret_env: ZERVI_JWT_SECRET
      grantable: ["orders:*", x, "*"]
      grantable_roles: []
      subject_pattern: "[1-9][0-9]*"
"""
        + POLICY
    )
    free, limited = files.load().issuers
    assert (free.grantable, free.grantable_roles, free.subject_pattern) == (None, None, None)
    assert limited.grantable == ("orders:*", "x", "*")
    assert limited.grantable_roles == ()
    assert limited.subject_pattern == "[1-9][0-9]*"


@pytest.mark.parametrize(
    "pattern",
    [
        "[1-9][0-9]*",
        r"[1-9]\d{0,18}|svc-[a-z]+",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        r"(?:u|s)-[^]*+?]+",
        r"\(\)*[)*]",
    ],
)
def test_a_pattern_for_subjects_stays_unchanged(files: Files, pattern: str) -> None:
    issuer = f"{{issuer: z, secret_env: ZERVI_JWT_SECRET, subject_pattern: '{pattern}'}}"
    files.write(sidecar=f"zervi: {{issuers: [{issuer}]}}\n" + POLICY)
    assert files.load().issuers[0].subject_pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("[", "must be a regular expression"),
        ("a{99999999999}", "must be a regular expression"),
        ("(a+)+", "must not repeat a group"),
        ("(?:a|a)*", "must not repeat a group"),
        ("(a){9}", "must not repeat a group"),
        ("a*a*a*a*b", "must not have more than 3 repetitions"),
        ("a?a?a{1,}a{,3}", "must not have more than 3 repetitions"),
    ],
)
def test_a_pattern_that_could_take_exponential_time_is_refused(
    files: Files, pattern: str, said: str
) -> None:
    issuer = f"{{issuer: z, secret_env: ZERVI_JWT_SECRET, subject_pattern: '{pattern}'}}"
    files.write(sidecar=f"zervi: {{issuers: [{issuer}]}}\n" + POLICY)
    (line,) = files.lines()
    assert f"`subject_pattern` {said}" in line


@pytest.mark.parametrize("pattern", ["orders:*:read", "**", "*:read", "", " a"])
def test_a_star_is_only_allowed_at_the_end_of_a_grantable_name(files: Files, pattern: str) -> None:
    for key in ("grantable", "grantable_roles"):
        issuer = f"{{issuer: z, secret_env: ZERVI_JWT_SECRET, {key}: ['{pattern}']}}"
        files.write(sidecar=f"zervi: {{issuers: [{issuer}]}}\n" + POLICY)
        (line,) = files.lines()
        assert f"item 1 of `{key}` " in line

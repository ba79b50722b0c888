"""What an access token is, and what else an issuer signs with the same key."""

from typing import Any

import pytest

from sidecar.core.reasons import Reason
from sidecar.core.tokens import jws
from sidecar.core.tokens.claims import Path
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import ClaimNames
from sidecar.core.tokens.principal import Kind, principal_from_claims
from sidecar.core.tokens.service_rules import ServiceRule
from tests.support.judging import NOW, SECRET, claims, secret_issuer, verdict
from tests.support.signing import b64, token

FOR_US = frozenset({"jobfirst"})


def hs256(**others: Any) -> bytes:
    return token(claims(**others), SECRET, "HS256")


NEVER = [
    {"typ": "Offline"},
    {"typ": "Refresh"},
    {"typ": "Logout"},
    {"typ": "logout+jwt"},
    {"type": "refresh"},
    {"token_type": "refresh-token"},
    {"typ": "InitialAccessToken"},
    {"typ": "RegistrationAccessToken"},
    {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    {"events": {}},
    {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
    {"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}},
    {"cnf": {}},
    {"cnf": "odd"},
    {"typ": "DPoP"},
    {"token_type": "PoP"},
    {"iss": "zervi", "sub": "zervi"},
    {"typ": "ID", "cnf": {"jkt": "x"}},
    {"at_hash": "x", "events": {}},
    {"type": ["user", "refresh"]},
    {"token_use": "id", "typ": "refresh"},
]
ID_TOKENS = [
    {"typ": "ID"},
    {"typ": "Serialized-ID"},
    {"typ": ["ID"]},
    {"token_use": "id"},
    {"token_use": "ID"},
    {"token_type": "id_token"},
    {"nonce": "n", "at_hash": "x"},
    {"at_hash": "x"},
    {"c_hash": "x"},
    {"s_hash": "x"},
    {"nonce": "n", "nonce_supported": True},
    {"firebase": {"identities": {}, "sign_in_provider": "password"}},
]
ACCESS_TOKENS: list[dict[str, Any]] = [
    {"typ": "Bearer"},
    {"token_use": "access"},
    {"token_type": "access_token", "type": "user"},
    {"nonce": "n"},
    {"auth_time": 1, "acr": "1", "amr": ["pwd"]},
    {"events": ["a"], "cnf": None, "at_hash": None, "firebase": "x"},
    {"typ": 5, "type": ["user", 5], "token_use": None},
    {"iss": "zervi", "sub": "Zervi"},
]


@pytest.mark.parametrize("marks", NEVER, ids=str)
def test_what_is_neither_an_access_nor_an_id_token_never_counts(marks: dict[str, Any]) -> None:
    """With or without audiences, for the right one and another, whatever ``token_types`` has."""
    for aud in ({}, {"aud": "jobfirst"}, {"aud": "other"}):
        raw = hs256(**marks, **aud)
        assert verdict(raw, secret_issuer()) is Reason.TOKEN_KIND
        assert verdict(raw, secret_issuer(audiences=FOR_US)) is Reason.TOKEN_KIND
        both = secret_issuer(audiences=FOR_US, id_tokens=True)
        assert verdict(raw, both) is Reason.TOKEN_KIND


@pytest.mark.parametrize("marks", ID_TOKENS, ids=str)
def test_an_id_token_counts_only_where_it_is_meant_to(marks: dict[str, Any]) -> None:
    """And then its audience is checked."""
    for aud in ({}, {"aud": "jobfirst"}, {"aud": "other"}):
        raw = hs256(**marks, **aud)
        assert verdict(raw, secret_issuer()) is Reason.TOKEN_KIND
        assert verdict(raw, secret_issuer(audiences=FOR_US)) is Reason.TOKEN_KIND
        both = secret_issuer(audiences=FOR_US, id_tokens=True)
        wanted = Reason.OK if aud == {"aud": "jobfirst"} else Reason.TOKEN_AUDIENCE
        assert verdict(raw, both) is wanted


@pytest.mark.parametrize("marks", ACCESS_TOKENS, ids=str)
def test_an_access_token_counts_everywhere(marks: dict[str, Any]) -> None:
    """Whatever its other claims are."""
    raw = hs256(**marks, aud="jobfirst")
    for one in (secret_issuer(), secret_issuer(audiences=FOR_US, id_tokens=True)):
        assert verdict(raw, one) is Reason.OK


AUDIENCE_CLAIMS = ("aud", "client_id", Path(("ext", "azp")))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"aud": "jobfirst"}, Reason.OK),
        ({"client_id": "jobfirst"}, Reason.OK),
        ({"aud": None, "client_id": "jobfirst"}, Reason.OK),
        ({"ext": {"azp": ["x", "jobfirst"]}}, Reason.OK),
        ({"aud": "other", "client_id": "jobfirst"}, Reason.TOKEN_AUDIENCE),
        ({"aud": [], "client_id": "jobfirst"}, Reason.TOKEN_AUDIENCE),
        ({"aud": "", "client_id": "jobfirst"}, Reason.TOKEN_AUDIENCE),
        ({"azp": "jobfirst"}, Reason.TOKEN_AUDIENCE),
        ({"ext": [{"azp": "jobfirst"}]}, Reason.TOKEN_AUDIENCE),
        ({}, Reason.TOKEN_AUDIENCE),
    ],
)
def test_the_first_audience_claim_in_the_token_counts(
    found: dict[str, Any], reason: Reason
) -> None:
    """A token for another audience is not for the client that got it."""
    one = secret_issuer(audiences=FOR_US, audience_claims=AUDIENCE_CLAIMS)
    assert verdict(hs256(**found), one) is reason


@pytest.mark.parametrize(
    ("rule", "services", "users"),
    [
        (ServiceRule("gty", equals="client-credentials"), [{"gty": "client-credentials"}],
         [{}, {"gty": "password"}, {"gty": ["client-credentials"]}, {"gty": None}]),
        (ServiceRule("sub", prefix="system:serviceaccount:"),
         [{"sub": "system:serviceaccount:shop:api"}], [{"sub": "system:node:a"}, {"sub": "x"}]),
        (ServiceRule("sub", same_as="client_id"), [{"sub": "c", "client_id": "c"}],
         [{"sub": "u", "client_id": "c"}, {"sub": "", "client_id": "", "user_id": 1}]),
        (ServiceRule("scp", present=False), [{}, {"scp": None}], [{"scp": "a"}, {"scp": []}]),
        (ServiceRule(Path(("kubernetes.io", "serviceaccount")), present=True),
         [{"kubernetes.io": {"serviceaccount": {"name": "api"}}}], [{}, {"kubernetes.io": {}}]),
    ],
)  # fmt: skip
def test_a_rule_says_whose_token_it_is(
    rule: ServiceRule, services: list[dict[str, Any]], users: list[dict[str, Any]]
) -> None:
    """A service has no user's name, and its subject is found as a user's."""
    one = secret_issuer(
        service_when=(ServiceRule("never", equals="x"), rule), claims=ClaimNames(username=("name",))
    )
    for own in services:
        found = principal_from_claims({"sub": "s", "name": "n", **own}, one)
        assert (found.kind, found.username) == (Kind.SERVICE, None)
        assert found.subject == own.get("sub", "s")
    for own in users:
        assert principal_from_claims({"sub": "s", **own}, one).kind is Kind.USER


def problem(raw: bytes, **others: int) -> tuple[str, ...]:
    with pytest.raises(TokenError) as caught:
        jws.read(raw, **others)
    assert caught.value.reason is Reason.TOKEN_MALFORMED
    return caught.value.needs


@pytest.mark.parametrize(
    "raw",
    [
        *(b"opaque", b"ya29.a0AfH6SMB", b"ya29.c.b0Aaekm1K", b"v4.public.abc", b"gho_16C7e42F2920"),
        *(b"550e8400-e29b-41d4-a716-446655440000", b"a.b", b"eyJ9", b"e30.e30", b"a.b.c.d"),
    ],
)
def test_what_is_not_a_jwt_is_named(raw: bytes) -> None:
    """Opaque tokens of several issuers, with any number of dots."""
    assert problem(raw) == ("token_opaque",)


def test_an_encrypted_token_is_named() -> None:
    """A JWE has five parts (RFC 7516, section 7.1)."""
    header = b64(b'{"alg":"RSA-OAEP","enc":"A256GCM"}')
    assert problem(header + b".a.b.c.d") == ("token_encrypted",)


@pytest.mark.parametrize("space", [b"", b" ", b"\t", b"\n", b"\r\n"])
def test_a_jwt_that_is_broken_is_only_malformed(space: bytes) -> None:
    """White space before an object is JSON too."""
    assert problem(b64(space + b'{"alg":1}') + b".e30.AA") == ()
    assert problem(b64(space + b"{") + b".e30.AA") == ()


def test_the_longest_token_is_configured() -> None:
    """To the byte; it is not read at all if it is longer."""
    raw = hs256(pad="x" * 9000)
    assert problem(raw) == ("token_too_long", "8192")
    assert problem(raw, max_bytes=len(raw) - 1) == ("token_too_long", str(len(raw) - 1))
    assert jws.read(raw, max_bytes=len(raw)).claims["exp"] == NOW + 600
    assert verdict(raw, secret_issuer()) is Reason.TOKEN_MALFORMED
    assert verdict(raw, secret_issuer(), token_max_bytes=len(raw)) is Reason.OK

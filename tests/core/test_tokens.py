"""How a token finds its issuer and its key, and what a verified one says."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from sidecar.core.reasons import Reason
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.principal import IdentityHeaders, Kind, Principal
from sidecar.core.tokens.verify import NeedsKey, Verified, verify
from tests.support.judging import (
    HS256,
    NOW,
    SECRET,
    claims,
    issuer,
    key_set,
    secret_issuer,
    snapshot,
    verdict,
)
from tests.support.signing import PrivateKey, ec_key, ed_key, jwk, rsa_key, token

KEYS: Mapping[str, PrivateKey] = {
    "RS256": rsa_key(),
    "PS384": rsa_key(),
    "ES256": ec_key(),
    "ES384": ec_key("P-384"),
    "ES512": ec_key("P-521"),
    "EdDSA": ed_key(),
}


def hs256(**others: Any) -> bytes:
    return token(claims(**others), SECRET, "HS256")


@pytest.mark.parametrize("alg", KEYS)
def test_a_token_signed_by_a_key_of_its_issuer_is_verified(alg: str) -> None:
    """Named by its kid, and without one where it is the only key that fits."""
    one = issuer(jwk(KEYS[alg], kid="k"))
    assert verdict(token(claims(), KEYS[alg], alg, kid="k"), one) is Reason.OK
    assert verdict(token(claims(), KEYS[alg], alg), one) is Reason.OK


def test_a_token_signed_with_a_secret_is_verified() -> None:
    """Any of the issuer's secrets will do while one takes the other's place; kid is ignored."""
    old, new = b"the old secret, of thirty-two byte", b"the new secret, of thirty-two byte"
    one = secret_issuer(new, old)
    for secret in (old, new):
        assert verdict(token(claims(), secret, "HS256", kid="whatever"), one) is Reason.OK
    assert verdict(token(claims(), b"x" * 40, "HS256"), one) is Reason.TOKEN_SIGNATURE


def test_a_verified_token_has_its_principal_and_its_lifetime() -> None:
    """Principal, digest, issuer, key, times and the headers for the upstream."""
    one = issuer(jwk(ec_key(), kid="k"))
    raw = token(claims(nbf=NOW - 5, username="张三"), ec_key(), "ES256", kid="k")
    other = secret_issuer(name="other")
    assert verify(raw, snapshot(other, one, leeway=10.0, cache_ttl=60.0), NOW) == Verified(
        digest=hashlib.sha256(raw).digest(),
        principal=Principal(Kind.USER, "42", "zervi", "张三"),
        issuer=1,
        thumbprint=one.keys and one.keys.keys[0].thumbprint,
        valid_from=NOW - 15,
        valid_until=NOW + 610,
        cached_until=NOW + 60,
        identity=(
            ("x-user-id", "42"),
            ("x-username", "%E5%BC%A0%E4%B8%89"),
            ("x-user-issuer", "zervi"),
        ),
    )


def test_a_token_is_cached_no_longer_than_it_is_good() -> None:
    """And one without nbf has been good since ever."""
    found = verify(hs256(exp=NOW + 20), snapshot(secret_issuer(), leeway=10.0), NOW)
    assert isinstance(found, Verified)
    assert (found.valid_from, found.valid_until, found.cached_until) == (0, NOW + 30, NOW + 30)
    assert found.thumbprint is None


def test_a_token_of_another_issuer_is_refused() -> None:
    """Names are compared exactly, and must be text."""
    one = secret_issuer()
    others = ["other", "Zervi", "zervi ", "zervi/", "", 1, True, ["zervi"], {"zervi": 1}]
    for name in others:
        assert verdict(hs256(iss=name), one) is Reason.TOKEN_ISSUER


@pytest.mark.parametrize("name", [..., None])
def test_a_token_that_names_no_issuer_needs_one_that_allows_it(name: object) -> None:
    """It is then that issuer's, and no other's."""
    strict, lax = secret_issuer(), secret_issuer(name="lax", allow_missing_issuer=True)
    assert verdict(hs256(iss=name), strict) is Reason.TOKEN_ISSUER
    found = verify(hs256(iss=name), snapshot(strict, lax), NOW)
    assert isinstance(found, Verified)
    assert (found.issuer, found.principal.issuer) == (1, "lax")


def test_an_issuer_that_may_be_left_out_is_found_by_name_too() -> None:
    """But by no other name."""
    lax = secret_issuer(allow_missing_issuer=True)
    assert verdict(hs256(), lax) is Reason.OK
    assert verdict(hs256(iss="other"), lax) is Reason.TOKEN_ISSUER


def test_of_two_issuers_of_one_name_the_algorithm_picks() -> None:
    """While an issuer moves from a secret to keys, both kinds of token are good."""
    keys = issuer(jwk(rsa_key(), kid="k"), algorithms=frozenset({"RS256"}))
    both = (secret_issuer(), keys)
    found = [
        verify(raw, snapshot(*both), NOW) for raw in (hs256(), token(claims(), rsa_key(), "RS256"))
    ]
    assert [isinstance(one, Verified) and one.issuer for one in found] == [0, 1]
    assert verdict(token(claims(), rsa_key(), "PS256"), *both) is Reason.TOKEN_ALGORITHM


def test_a_key_of_one_issuer_does_not_sign_for_another() -> None:
    """Whatever kid the token names."""
    good = issuer(jwk(ec_key(), kid="good"))
    evil = issuer(jwk(ec_key(name="evil"), kid="evil"), name="evil")
    forged = token(claims(), ec_key(name="evil"), "ES256", kid="evil")
    assert verdict(forged, good, evil) == NeedsKey(0, "evil")
    forged = token(claims(), ec_key(name="evil"), "ES256", kid="good")
    assert verdict(forged, good, evil) is Reason.TOKEN_SIGNATURE


def test_a_first_key_set_is_asked_for() -> None:
    """It may be on its way: a sidecar that just started."""
    raw = token(claims(), ec_key(), "ES256", kid="k")
    assert verdict(raw, issuer()) == NeedsKey(0, "k", first=True)


def test_keys_that_are_too_old_are_not_ready() -> None:
    """Older than max_stale: the client keeps its session."""
    raw = token(claims(), ec_key(), "ES256", kid="k")
    stale = key_set(jwk(ec_key(), kid="k"), fetched_at=NOW - 101)
    fresh = stale._replace(fetched_at=NOW - 100)
    assert verdict(raw, issuer(keys=stale), max_stale=100.0) is Reason.NOT_READY
    assert verdict(raw, issuer(keys=fresh), max_stale=100.0) is Reason.OK


def test_an_invalid_token_is_refused_also_without_keys() -> None:
    """Checks that need no key are made without one."""
    cases: list[tuple[dict[str, Any], Reason | NeedsKey]] = [
        ({"exp": NOW - 100}, Reason.TOKEN_EXPIRED),
        ({"token": "refresh-1"}, Reason.TOKEN_KIND),
        ({}, NeedsKey(0, None, first=True)),
    ]
    for others, reason in cases:
        assert verdict(token(claims(**others), ec_key(), "ES256"), issuer()) == reason


def test_an_unknown_kid_needs_a_fresh_key_set() -> None:
    """It says which issuer's."""
    one = issuer(jwk(ec_key(), kid="k"))
    for kid in ("new", " ", "K", "k\0", "k" * 256):
        raw = token(claims(), ec_key(), "ES256", kid=kid)
        assert verdict(raw, secret_issuer(name="other"), one) == NeedsKey(1, kid)


def test_a_kid_that_names_a_key_of_another_algorithm_is_refused() -> None:
    """By the key's type, its curve and its own alg."""
    one = issuer(
        jwk(rsa_key(), kid="rs", alg="RS256"), jwk(ec_key(), kid="ec"), jwk(ed_key(), kid="ed")
    )
    mixed: list[tuple[str, PrivateKey, str]] = [
        ("PS256", rsa_key(), "rs"),
        ("RS512", rsa_key(), "rs"),
        ("RS256", rsa_key(), "ec"),
        ("ES384", ec_key("P-384"), "ec"),
        ("ES256", ec_key(), "ed"),
        ("EdDSA", ed_key(), "rs"),
    ]
    for alg, key, kid in mixed:
        assert verdict(token(claims(), key, alg, kid=kid), one) is Reason.TOKEN_ALGORITHM


def test_keys_named_by_the_token_itself_are_never_used() -> None:
    """Neither embedded ones nor addresses of them."""
    evil = ec_key(name="evil")
    header = {
        "jwk": jwk(evil, kid="k"),
        "jku": "http://127.0.0.1:1/jwks.json",
        "x5u": "http://127.0.0.1:1/cert.pem",
        "x5c": ["AAAA"],
    }
    one = issuer(jwk(ec_key(), kid="k"))
    assert verdict(token(claims(), evil, "ES256", kid="k", **header), one) is Reason.TOKEN_SIGNATURE
    assert verdict(token(claims(), ec_key(), "ES256", kid="k", **header), one) is Reason.OK


def test_claims_without_a_subject_are_refused_after_the_signature() -> None:
    """A forger does not learn what is missing."""
    assert verdict(hs256(sub=...), secret_issuer()) is Reason.TOKEN_CLAIMS
    forged = token(claims(sub=...), b"x" * 32, "HS256")
    assert verdict(forged, secret_issuer()) is Reason.TOKEN_SIGNATURE


def test_identity_headers_that_are_too_large_are_refused() -> None:
    """By way of the token, and of role_permissions."""
    assert verdict(hs256(username="三" * 1000), secret_issuer()) is Reason.TOKEN_CLAIMS
    grants = {"admin": tuple(f"permission:{number}" for number in range(100_000))}
    one = secret_issuer(role_permissions=grants)
    assert verdict(hs256(role="admin"), one) is Reason.TOKEN_CLAIMS


def test_identity_headers_have_the_names_of_the_snapshot() -> None:
    """As the policy configures them."""
    names = IdentityHeaders(subject="x-subject")
    found = verify(hs256(), snapshot(secret_issuer(), identity_headers=names), NOW)
    assert isinstance(found, Verified)
    assert found.identity == (("x-subject", "42"), ("x-user-issuer", "zervi"))


def test_claims_60_levels_deep_are_refused() -> None:
    """They never reach what Envoy would fail on."""
    deep = json.dumps(claims()).replace("}", ', "a": ' + "[" * 60 + "]" * 60 + "}").encode()
    assert verdict(token(deep, SECRET, "HS256"), secret_issuer()) is Reason.TOKEN_MALFORMED


def test_conditions_are_checked_in_their_order() -> None:
    """Each time the first that fails is the one that is named."""
    bad: dict[str, Any] = {
        "iss": "other",
        "exp": NOW - 100,
        "aud": "other",
        "token": "refresh-1",
        "sub": "",
    }
    one = Issuer("zervi", HS256, audiences=frozenset({"jobfirst"}), secrets=(SECRET,))
    forger = b"of some forger, and 32 bytes long"
    raw = token(claims(**bad), forger, "HS384")
    seen = [verdict(raw + b".e30", one), verdict(raw, one)]
    bad["iss"] = "zervi"
    seen.append(verdict(token(claims(**bad), forger, "HS384"), one))
    for name, good in [("exp", NOW + 1), ("token", "access"), ("aud", "jobfirst"), ("sub", "")]:
        seen.append(verdict(token(claims(**bad), forger, "HS256"), one))
        bad[name] = good
    seen.append(verdict(token(claims(**bad), forger, "HS256"), one))
    seen.append(verdict(token(claims(**bad), SECRET, "HS256"), one))
    assert seen == [
        Reason.TOKEN_MALFORMED,
        Reason.TOKEN_ISSUER,
        Reason.TOKEN_ALGORITHM,
        Reason.TOKEN_EXPIRED,
        Reason.TOKEN_KIND,
        Reason.TOKEN_AUDIENCE,
        Reason.TOKEN_SIGNATURE,
        Reason.TOKEN_SIGNATURE,
        Reason.TOKEN_CLAIMS,
    ]

"""What the log says about a token that is nearly good."""

from typing import Any

import pytest

from sidecar.core.decision import Needs, settle
from sidecar.core.reasons import Reason
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.verify import NeedsKey, verify
from tests.support.judging import NOW, claims, issuer, snapshot
from tests.support.policies import BEARER, PROTECTED, request
from tests.support.signing import ec_key, jwk, rsa_key, token

KEY = jwk(ec_key(), kid="k")
NAME = "https://id.example/Realms/one"


def detail(configured: Issuer, raw: bytes | None = None, **others: Any) -> str:
    raw = token(claims(**others), ec_key(), "ES256", kid="k") if raw is None else raw
    with pytest.raises(TokenError) as caught:
        verify(raw, snapshot(configured), NOW)
    return caught.value.detail


def unknown(raw: bytes, *issuers: Issuer) -> str:
    """Return the detail where no fresh key set helps."""
    found = verify(raw, snapshot(*issuers), NOW)
    assert isinstance(found, NeedsKey)
    known = snapshot(*issuers)._replace(token_sources=(BEARER,))
    asked = request(headers={"authorization": (b"Bearer " + raw,)})
    denial = settle(Needs(found, PROTECTED, (BEARER,)), asked, known, NOW, fetched=True)
    assert denial.reason is Reason.TOKEN_KEY_UNKNOWN
    return denial.detail


@pytest.mark.parametrize(
    ("claimed", "difference"),
    [
        (NAME + "/", "a trailing slash"),
        (NAME.replace("https", "http"), "http for https"),
        (NAME.replace("https", "HTTPS"), "case"),
        (NAME.removeprefix("https://"), "no scheme for https"),
        (NAME.lower(), "case"),
        (NAME.replace("id.example", "id.example:443"), "the port"),
        (f" {NAME}\n", "spaces"),
        (NAME.replace("https", "http").lower() + "/", "http for https and a trailing slash and ca"),
    ],
)
def test_an_issuer_that_is_nearly_a_configured_one_is_named(claimed: str, difference: str) -> None:
    """The difference, and the configured name: nothing of the token."""
    found = detail(issuer(KEY, name=NAME), iss=claimed)
    assert f"; it differs from {NAME} only by {difference}" in found
    assert claimed == NAME or claimed not in found.replace(NAME, "")


@pytest.mark.parametrize(
    "claimed", ["https://id.example", "https://id.example.evil/Realms/one", "", "x", 7, None, ["x"]]
)
def test_any_other_issuer_is_only_refused(claimed: object) -> None:
    """No guess."""
    assert "differs" not in detail(issuer(KEY, name=NAME), iss=claimed)


def test_entra_s_two_spellings_of_one_tenant_are_known() -> None:
    """An API gets v1.0 tokens unless its manifest asks for v2.0."""
    v1, v2 = "https://sts.windows.net/t-1/", "https://login.microsoftonline.com/t-1/v2.0"
    for configured, claimed, version in ((v2, v1, "v1.0"), (v1, v2, "v2.0")):
        found = detail(issuer(KEY, name=configured), iss=claimed)
        assert f"it is a {version} token of Entra's, the configured issuer {configured}" in found
    assert "Entra" not in detail(issuer(KEY, name=v2), iss=v1.replace("t-1", "t-2"))


@pytest.mark.parametrize(
    ("aud", "difference"),
    [
        ("https://API.example", "case"),
        (["other", "https://api.example/"], "a trailing slash"),
        ("api://api.example", "api for https"),
    ],
)
def test_an_audience_that_is_nearly_a_configured_one_is_named(aud: object, difference: str) -> None:
    """The same differences."""
    one = issuer(KEY, audiences=frozenset({"https://api.example", "z"}))
    assert f"it differs from https://api.example only by {difference}" in detail(one, aud=aud)
    assert "differs" not in detail(one, aud=["x"] * 9 + ["https://api.example/"])


def test_the_kid_of_another_issuer_s_key_is_named() -> None:
    """A token of the one, with the claim iss of the other."""
    one = issuer(KEY, name="zervi")
    other = issuer(jwk(ec_key(name="other"), kid="theirs"), name="https://other.example")
    raw = token(claims(), ec_key(name="other"), "ES256", kid="theirs")
    assert "; the key of its kid is that of the issuer https://other" in unknown(raw, one, other)
    found = unknown(token(claims(), ec_key(), "ES256", kid="x"), one, other)
    assert found == "issuer zervi: the key set lacks the token's key; keys fetched 0 s ago"


def test_the_log_says_that_a_token_s_key_was_left_out() -> None:
    """With the cause, for a key that its kid names."""
    weak = jwk(rsa_key(bits=1024), kid="weak")
    one = issuer(KEY, weak, jwk(rsa_key(), kid="k", use="enc"))
    raw = token(claims(), rsa_key(bits=1024), "RS256", kid="weak")
    assert "; its key was not usable: RSA under 2048 bits;" in unknown(raw, one)
    found = detail(one, token(claims(), rsa_key(), "RS256", kid="k"))
    assert found.endswith("; another key of this kid was not usable: use is not sig")


def test_the_log_says_which_keys_are_not_usable_for_a_token_without_kid() -> None:
    """Each cause: the token does not say which key it means."""
    one = issuer(KEY, jwk(rsa_key(bits=1024)))
    raw = token(claims(), rsa_key(bits=1024), "RS256")
    found = unknown(raw, one)
    assert "; the token has no kid, and no key that fits verifies it" in found
    assert "; keys that are not usable: 1 × RSA under 2048 bits" in found

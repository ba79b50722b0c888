"""What a refused token's error tells the operator: its claims, and what its issuer accepts."""

from typing import Any

import pytest

from sidecar.core.tokens.errors import TokenFacts
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.verify import TokenError, verify
from tests.support.judging import NOW, SECRET, claims, issuer, secret_issuer, snapshot
from tests.support.signing import compact, jwk, rsa_key, token

KEY, OTHER_KEY = rsa_key(), rsa_key("other")
SHOP = secret_issuer(name="shop", audiences=frozenset({"shop-web", "shop-api"}))
ZERVI = issuer(jwk(KEY, kid="k"), algorithms=frozenset({"RS256"}))
NAMELESS = secret_issuer(name="nameless", allow_missing_issuer=True)


def refused(raw: bytes, *issuers: Issuer) -> TokenError:
    """Return the error about a token."""
    with pytest.raises(TokenError) as caught:
        verify(raw, snapshot(*(issuers or (SHOP, ZERVI))), NOW)
    return caught.value


def shop(**others: Any) -> bytes:
    """Return a token of the issuer shop."""
    return token(claims(**{"iss": "shop", "aud": "shop-api", **others}), SECRET, "HS256", kid="s")


def test_a_wrong_audience_is_told_with_both_sides() -> None:
    error = refused(shop(aud=["pay-api"]))
    assert error.detail == "issuer shop accepts shop-api, shop-web; aud has none that it accepts"
    assert error.facts == TokenFacts("s", "shop", ["pay-api"], "HS256", "shop")


def test_a_missing_audience_is_told_as_such() -> None:
    error = refused(shop(aud=...))
    assert error.detail == "issuer shop accepts shop-api, shop-web; aud is missing"
    assert error.facts == TokenFacts("s", "shop", None, "HS256", "shop")


@pytest.mark.parametrize(
    ("raw", "reason", "detail", "matched"),
    [
        (shop(iss="else"), "token_issuer", "iss is not a configured issuer: shop, zervi", None),
        (shop(iss=7), "token_issuer", "iss is not a configured issuer: shop, zervi", None),
        (
            shop(iss="zervi"),
            "token_algorithm",
            "alg is not one that issuer zervi accepts: RS256",
            "zervi",
        ),
        (shop(exp=NOW - 60), "token_expired", "expired 60 s ago", "shop"),
        (shop(token="refresh-1"), "token_kind", "a refresh token", "shop"),
        (
            token(claims(iss="shop", aud="shop-api"), b"x" * 40, "HS256", kid="s"),
            "token_signature",
            "no secret of issuer shop verifies the signature",
            "shop",
        ),
        (
            token(claims(), OTHER_KEY, "RS256", kid="k"),
            "token_signature",
            "the signature does not verify with that key of issuer zervi",
            "zervi",
        ),
        (
            shop(sub=...),
            "token_claims",
            "the subject is missing, or not text or an integer",
            "shop",
        ),
    ],
)
def test_each_refusal_names_the_issuer_that_the_token_matched(
    raw: bytes, reason: str, detail: str, matched: str | None
) -> None:
    error = refused(raw)
    assert (error.reason, error.detail) == (reason, detail)
    assert error.facts is not None
    assert error.facts.issuer == matched


@pytest.mark.parametrize(
    ("header", "payload", "facts"),
    [
        (b'{"alg":"HS256","typ":"logout+jwt","kid":"s"}', b'{"iss":"shop","aud":"a"}',
         TokenFacts("s", "shop", "a", "HS256", "shop")),
        (b'{"alg":"HS256","kid":["s"]}', b'{"iss":"shop"}',
         TokenFacts(["s"], "shop", None, "HS256", "shop")),
        (b'{"alg":"HS256"}', b"[]", TokenFacts(alg="HS256")),
        (b'{"alg":"HS256"}', b"{}", TokenFacts(alg="HS256", issuer="nameless")),
        (b"no JSON", b'{"iss":"shop"}', TokenFacts(iss="shop", issuer="shop")),
        (b"no JSON", b"no JSON", TokenFacts()),
    ],
)  # fmt: skip
def test_of_a_token_that_cannot_be_read_whole_each_readable_part_is_told(
    header: bytes, payload: bytes, facts: TokenFacts
) -> None:
    raw = compact(header, payload, SECRET, "HS256") + b"="  # no base64url: malformed in any case
    assert refused(raw, SHOP, NAMELESS).facts == facts


@pytest.mark.parametrize("raw", [b"opaque", b"..", b".", b"", b"." * 100])
def test_an_opaque_token_claims_nothing(raw: bytes) -> None:
    assert refused(raw).facts == TokenFacts()


def test_an_encrypted_token_claims_what_its_header_says() -> None:
    raw = compact(b'{"alg":"RSA-OAEP","enc":"A256GCM","kid":"e"}', b"{}", SECRET, "HS256") + b".a.b"
    assert refused(raw).facts == TokenFacts("e", alg="RSA-OAEP")


def test_of_a_token_that_is_too_long_nothing_is_read() -> None:
    assert refused(shop(name="x" * 8192)).facts is None


def test_a_detail_lists_at_most_four_names() -> None:
    many = secret_issuer(name="many", audiences=frozenset("abcdef"))
    detail = refused(token(claims(iss="many", aud="z"), SECRET, "HS256"), many).detail
    assert detail == "issuer many accepts a, b, c, d and 2 more; aud has none that it accepts"

"""Which key verifies a token: the one that its kid names, or one of the few that fit."""

from collections.abc import Callable
from typing import Any

import pytest

from sidecar.core.reasons import Reason
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.selection import Tries, try_freely
from sidecar.core.tokens.verify import NeedsKey, Verified, verify
from tests.support.judging import NOW, claims, issuer, snapshot, verdict
from tests.support.signing import ec_key, jwk, rsa_key, token

NAMES = ("first", "second", "third", "fourth", "fifth")
NO_KID: list[dict[str, Any]] = [{}, {"kid": ""}]


def signed(name: str, **header: Any) -> bytes:
    return token(claims(), ec_key(name=name), "ES256", **header)


def bare(*names: str) -> list[dict[str, Any]]:
    return [jwk(ec_key(name=name)) for name in names]


def named(*names: str) -> list[dict[str, Any]]:
    return [jwk(ec_key(name=name), kid=name) for name in names]


def test_a_known_kid_names_the_only_key_that_is_tried() -> None:
    """A failed signature falls through to no other key, though it would verify."""
    one = issuer(*named("first"), *bare("second"))
    assert verdict(signed("first", kid="first"), one) is Reason.OK
    assert verdict(signed("second", kid="first"), one) is Reason.TOKEN_SIGNATURE


def test_a_known_kid_means_the_key_of_the_token_s_alg() -> None:
    """An RSA and an EC key under one kid (RFC 7517, section 4.5)."""
    one = issuer(jwk(rsa_key(), kid="k"), jwk(ec_key(), kid="k"))
    assert verdict(token(claims(), rsa_key(), "RS256", kid="k"), one) is Reason.OK
    assert verdict(token(claims(), ec_key(), "ES256", kid="k"), one) is Reason.OK
    assert verdict(token(claims(), ec_key("P-384"), "ES384", kid="k"), one) is (
        Reason.TOKEN_ALGORITHM
    )


def test_an_unknown_kid_is_tried_with_the_keys_without_kid() -> None:
    """And with no key that has another kid."""
    one = issuer(*named("first"), *bare("second", "third"), jwk(rsa_key()))
    for name in ("second", "third"):
        assert verdict(signed(name, kid="unknown"), one) is Reason.OK
    assert verdict(signed("first", kid="unknown"), one) == NeedsKey(0, "unknown")


@pytest.mark.parametrize("no_kid", NO_KID)
def test_a_token_without_kid_is_tried_with_all_keys_that_fit(no_kid: dict[str, Any]) -> None:
    """Those without kid, then the others; an empty kid is none."""
    for keys in (named("first", "second"), bare("first", "second"), named("first") + bare("x")):
        one = issuer(*keys, jwk(rsa_key(), kid="rsa"))
        assert verdict(signed("first", **no_kid), one) is Reason.OK
        assert verdict(signed("forged", **no_kid), one) == NeedsKey(0, None)
        assert verdict(token(claims(), rsa_key(), "PS256", **no_kid), one) is Reason.OK


def test_at_most_four_keys_are_tried() -> None:
    """In the document's order."""
    for keys in (named(*NAMES), bare(*NAMES)):
        verdicts = [verdict(signed(name), issuer(*keys)) for name in NAMES]
        assert verdicts == [Reason.OK] * 4 + [NeedsKey(0, None)]


def counting(allowed: int) -> tuple[list[int], Tries]:
    """Return a list of further verifications by issuer, and ``tries`` that allows so many."""
    made: list[int] = []

    def tries(index: int, _key: str, verifies: Callable[[], bool]) -> bool | None:
        if len(made) == allowed:
            return None
        made.append(index)
        return verifies()

    return made, tries


def found(raw: bytes, known: Snapshot, tries: Any = try_freely) -> object:
    try:
        return verify(raw, known, NOW, tries=tries)
    except TokenError as error:
        return error.reason


def test_the_first_key_that_fits_needs_no_budget() -> None:
    """Such a token costs what one with a known kid costs; further keys are asked for."""
    known = snapshot(issuer(*bare("x"), name="other"), issuer(*bare(*NAMES[:3])))
    for name, wanted in (("first", []), ("second", [1]), ("third", [1, 1]), ("forged", [1, 1])):
        made, tries = counting(allowed=9)
        assert isinstance(found(signed(name), known, tries), Verified) is (name != "forged")
        assert made == wanted


def test_without_budget_a_further_key_is_not_tried() -> None:
    """The token is not refused: it may be good. It says that the sidecar is overloaded."""
    known = snapshot(issuer(*bare(*NAMES[:3])))
    made, tries = counting(allowed=1)
    assert found(signed("third"), known, tries) is Reason.OVERLOADED
    assert made == [0]
    assert isinstance(found(signed("first"), known, tries), Verified)


def test_a_key_without_budget_does_not_keep_later_keys_from_being_tried() -> None:
    """The budget may know that a later one is in use."""
    known = snapshot(issuer(*bare(*NAMES[:3])))
    keys = known.issuers[0].keys
    assert keys is not None
    third = keys.keys[2].thumbprint

    def tries(_index: int, key: str, verifies: Callable[[], bool]) -> bool | None:
        return verifies() if key == third else None

    assert isinstance(found(signed("third"), known, tries), Verified)
    assert found(signed("second"), known, tries) is Reason.OVERLOADED


@pytest.mark.parametrize("nonsense", [1, "yes", object(), None, False])
def test_only_true_verifies(nonsense: object) -> None:
    """Whatever the budget answers."""
    known = snapshot(issuer(*bare("first", "second")))
    assert not isinstance(found(signed("second"), known, lambda *_: nonsense), Verified)

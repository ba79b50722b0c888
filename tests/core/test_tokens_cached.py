"""How long a verified token counts."""

from typing import Any

import pytest

from sidecar.core.reasons import Reason
from sidecar.core.tokens.keys import KeySet
from sidecar.core.tokens.verify import TokenError, Verified, recheck, verify
from tests.support.judging import NOW, SECRET, claims, issuer, key_set, secret_issuer, snapshot
from tests.support.signing import ec_key, jwk, token

KEYS = key_set(jwk(ec_key(), kid="k"))


def verified(**others: Any) -> Verified:
    found = verify(token(claims(**others), ec_key(), "ES256"), snapshot(issuer(keys=KEYS)), NOW)
    assert isinstance(found, Verified)
    return found


def counts(entry: Verified, now: float, keys: KeySet | None = KEYS, **others: Any) -> Reason | None:
    return recheck(entry, snapshot(issuer(keys=keys), **others), now)


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (0, None),
        (129.5, None),
        (130, Reason.TOKEN_EXPIRED),
        (1e9, Reason.TOKEN_EXPIRED),
        (-29.5, None),
        (-30.5, Reason.TOKEN_NOT_YET_VALID),
    ],
)
def test_its_times_are_checked_at_every_hit(later: float, reason: Reason | None) -> None:
    """With the leeway that it was verified with, and should the clock be set back too."""
    assert counts(verified(exp=NOW + 100, nbf=NOW), NOW + later) is reason


def test_it_counts_exactly_as_long_as_verifying_would_say() -> None:
    """The cache neither shortens nor lengthens a token's life."""
    raw = token(claims(exp=NOW + 100, nbf=NOW - 50), SECRET, "HS256")
    now_on = snapshot(secret_issuer(), cache_ttl=1e9)
    entry = verify(raw, now_on, NOW)
    assert isinstance(entry, Verified)
    for moment in range(-90, 140):
        at = NOW + moment
        try:
            verify(raw, now_on, at)
        except TokenError:
            assert recheck(entry, now_on, at) is not None
        else:
            assert recheck(entry, now_on, at) is None


def test_it_counts_no_longer_than_the_cache_may_hold_it() -> None:
    """Then it is verified afresh."""
    entry = verified()
    assert counts(entry, NOW + 299) is None
    assert counts(entry, NOW + 300) is Reason.TOKEN_KEY_UNKNOWN


def test_its_key_must_still_be_in_the_key_set() -> None:
    """A withdrawn key is refused immediately, even if its kid is used again."""
    entry = verified()
    withdrawn = key_set(jwk(ec_key(name="other"), kid="other"))
    reused = key_set(jwk(ec_key(name="other"), kid="k"))
    renamed = key_set(jwk(ec_key(name="other"), kid="k"), jwk(ec_key(), kid="old"))
    assert counts(entry, NOW, withdrawn) is Reason.TOKEN_KEY_UNKNOWN
    assert counts(entry, NOW, reused) is Reason.TOKEN_KEY_UNKNOWN
    assert counts(entry, NOW, renamed) is None


def test_its_key_set_must_not_be_stale() -> None:
    """Nor gone; a fresh one of the same keys heals it."""
    entry = verified()
    stale, fresh = KEYS._replace(fetched_at=NOW - 101), KEYS._replace(fetched_at=NOW - 100)
    assert counts(entry, NOW, stale, max_stale=100.0) is Reason.NOT_READY
    assert counts(entry, NOW, None, max_stale=100.0) is Reason.NOT_READY
    assert counts(entry, NOW, fresh, max_stale=100.0) is None


def test_a_token_of_a_secret_needs_no_key_set() -> None:
    """Only its times count."""
    raw = token(claims(), SECRET, "HS256")
    now_on = snapshot(secret_issuer(), max_stale=1.0)
    entry = verify(raw, now_on, NOW)
    assert isinstance(entry, Verified)
    assert recheck(entry, now_on, NOW + 200) is None

"""Which clock counts for what: the wall clock for a token's times, a steady one for ages."""

import pytest

from sidecar.core.reasons import Reason
from sidecar.core.tokens.verify import TokenError, Verified, recheck, verify
from tests.support.judging import NOW, claims, issuer, key_set, snapshot
from tests.support.signing import ec_key, jwk, token

MAX_STALE = 1000.0
KEYS = key_set(jwk(ec_key(), kid="k"), fetched_at=NOW)
SNAPSHOT = snapshot(issuer(keys=KEYS), max_stale=MAX_STALE)
YEAR = 365 * 86400.0
RAW = token(claims(exp=NOW + 2 * YEAR), ec_key(), "ES256", kid="k")


def verdict(now: float, steady: float) -> Reason:
    try:
        found = verify(RAW, SNAPSHOT, now, steady=steady)
    except TokenError as error:
        return error.reason
    assert isinstance(found, Verified)
    return Reason.OK


@pytest.mark.parametrize("jump", [-YEAR, -3600.0, -0.001, 0.0, 0.001, 3600.0, YEAR])
def test_a_jump_of_the_wall_clock_neither_expires_nor_prolongs_a_key_set(jump: float) -> None:
    """Its age is what the steady clock says, for a new token and for one that is remembered."""
    entry = verify(RAW, SNAPSHOT, NOW, steady=NOW)
    assert isinstance(entry, Verified)
    for age, wanted in ((0.0, Reason.OK), (MAX_STALE, Reason.OK), (1000.1, Reason.NOT_READY)):
        assert verdict(NOW + jump, NOW + age) is wanted
        again = recheck(entry._replace(cached_until=NOW + YEAR), SNAPSHOT, NOW + jump, NOW + age)
        assert again is (None if wanted is Reason.OK else wanted)


@pytest.mark.parametrize("ahead", [0.001, 1.0, 1e9])
def test_a_key_set_from_the_future_is_stale(ahead: float) -> None:
    """Its age is unknown."""
    keys = KEYS._replace(fetched_at=NOW + ahead)
    now_on = snapshot(issuer(keys=keys), max_stale=MAX_STALE)
    with pytest.raises(TokenError) as caught:
        verify(RAW, now_on, NOW, steady=NOW)
    assert caught.value.reason is Reason.NOT_READY
    entry = verify(RAW, SNAPSHOT, NOW)
    assert isinstance(entry, Verified)
    assert recheck(entry, now_on, NOW, NOW) is Reason.NOT_READY


@pytest.mark.parametrize("jump", [-YEAR, -3600.0, 0.0, 3600.0])
def test_a_jump_of_the_wall_clock_does_not_prolong_how_long_a_token_is_remembered(
    jump: float,
) -> None:
    """``cache_ttl`` is time that passed."""
    entry = verify(RAW, SNAPSHOT, NOW, steady=NOW)
    assert isinstance(entry, Verified)
    assert recheck(entry, SNAPSHOT, NOW + jump, NOW + 299.9) is None
    assert recheck(entry, SNAPSHOT, NOW + jump, NOW + 300) is Reason.TOKEN_KEY_UNKNOWN


def test_a_token_s_own_times_are_the_wall_clock_s() -> None:
    """The issuer wrote them by its own."""
    assert verdict(NOW + 2 * YEAR + 31, NOW) is Reason.TOKEN_EXPIRED

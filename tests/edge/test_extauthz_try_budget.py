"""Forged tokens without a known kid cost little more than others, and deny no good token."""

import time
from collections import Counter
from collections.abc import Awaitable

import pytest

from sidecar.core.tokens import verify
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.extauthz.service import CheckService
from sidecar.extauthz.try_budget import SECONDS_A_SECOND, TryBudget
from sidecar.net import clock
from tests.support.checks import answer, check_request, reason_of, service
from tests.support.policies import snapshot
from tests.support.signing import jwk, jwks, rsa_key, token

RS256 = frozenset({"RS256"})
NAMES = ("first", "second", "third", "fourth")
FLOOD = 300


class Ticks:
    """Two clocks: of the time, and of the work, of which each verification takes a millisecond."""

    def __init__(self) -> None:
        self.now = self.work = 1000.0

    def forged(self) -> bool:
        self.work += 0.001
        return False

    def good(self) -> bool:
        self.work += 0.001
        return True


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def budget(ticks: Ticks) -> TryBudget:
    return TryBudget(lambda: ticks.now, lambda: ticks.work)


def made(budget: TryBudget, ticks: Ticks, issuer: int = 0, key: str = "a") -> int:
    """Return how many forged tokens are verified, one after the other."""
    return sum(budget.tries(issuer, key, ticks.forged) is not None for _ in range(100))


def test_failed_verifications_take_ten_milliseconds_a_second(
    budget: TryBudget, ticks: Ticks
) -> None:
    """However long none came; each issuer has its own."""
    assert made(budget, ticks) in {10, 11}  # the last one may end beyond
    assert made(budget, ticks, issuer=1) in {10, 11}
    for seconds, wanted in ((1.0, 10), (0.5, 5), (3600.0, 10)):
        ticks.now += seconds
        assert made(budget, ticks) in {wanted - 1, wanted, wanted + 1}
    assert SECONDS_A_SECOND == 0.01


def test_a_good_token_costs_nothing(budget: TryBudget, ticks: Ticks) -> None:
    """An issuer whose tokens have no kid is never held up by its own users."""
    assert all(budget.tries(0, "b", ticks.good) for _ in range(1000))
    assert made(budget, ticks) in {10, 11}


def test_a_result_of_the_verification_is_passed_on(budget: TryBudget, ticks: Ticks) -> None:
    """An exception too, as every fault inside."""
    assert budget.tries(0, "b", ticks.good) is True
    assert budget.tries(0, "a", ticks.forged) is False
    with pytest.raises(ZeroDivisionError):
        budget.tries(0, "a", lambda: bool(1 // 0))


def test_the_key_in_use_is_tried_without_budget(budget: TryBudget, ticks: Ticks) -> None:
    """The last one that verified a token: of each issuer one, so that the cost stays bounded."""
    assert made(budget, ticks) in {10, 11}
    assert budget.tries(0, "b", ticks.good) is None
    ticks.now += 1
    assert budget.tries(0, "b", ticks.good) is True
    assert made(budget, ticks) in {10, 11}
    assert made(budget, ticks, key="b") == 100
    assert budget.tries(0, "b", ticks.good) is True
    assert made(budget, ticks, key="c") == 0
    assert made(budget, ticks, issuer=1, key="b") in {10, 11}


def issuer(*, kid: bool) -> Issuer:
    keys = [jwk(rsa_key(name), **({"kid": name} if kid else {})) for name in NAMES]
    found = parse_key_set(jwks(*keys), algorithms=RS256, fetched_at=clock.steady())
    return Issuer("keys", RS256, keys=found)


def tokens(key: str, number: int, **header: str) -> list[bytes]:
    claims = {"iss": "keys", "user_id": 7, "exp": int(time.time()) + 600}
    return [
        token({**claims, "n": n, "permissions": ["closed:read"]}, rsa_key(key), "RS256", **header)
        for n in range(number)
    ]


async def reasons(checks: CheckService, raws: list[bytes]) -> Counter[str | None]:
    found: Counter[str | None] = Counter()
    for raw in raws:
        message = check_request(headers={"authorization": [b"Bearer " + raw]})
        found[reason_of(await answer(checks, message))] += 1
    return found


async def test_a_flood_of_forged_tokens_without_kid_costs_as_much_as_one_with_kid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted in verifications: one each, and the few that the budget pays for."""
    verifications: list[object] = []
    signed = verify._signed

    def counted(token: object, key: object) -> bool:
        verifications.append(key)
        return signed(token, key)  # type: ignore[arg-type]  # -- passed on

    monkeypatch.setattr(verify, "_signed", counted)
    # A clock that stands still: the budget of this second, whatever the machine is busy with.
    ticks = Ticks()
    monkeypatch.setattr(
        "sidecar.extauthz.service.TryBudget",
        lambda: TryBudget(lambda: ticks.now, lambda: len(verifications) / 1000),
    )
    checks = service(snapshot(issuers=(issuer(kid=True),)))
    found = await reasons(checks, tokens("forged", FLOOD, kid="first"))
    assert found == {"token_signature": FLOOD}
    with_kid = len(verifications)
    verifications.clear()
    checks = service(snapshot(issuers=(issuer(kid=False),)))
    found = await reasons(checks, tokens("forged", FLOOD))
    assert found["overloaded"] > 0.9 * FLOOD
    assert with_kid <= len(verifications) < 1.1 * with_kid
    # Good tokens of the first key are answered as ever, and so are all a second later.
    assert await reasons(checks, tokens("first", 20)) == {"ok": 20}
    assert await reasons(checks, tokens("third", 1)) == {"overloaded": 1}
    ticks.now += 1
    assert await reasons(checks, tokens("third", 1)) == {"ok": 1}
    # The third key is in use: no flood keeps its tokens out any more.
    verifications.clear()
    found = await reasons(checks, tokens("forged", FLOOD))
    assert found["overloaded"] > 0.9 * FLOOD
    assert len(verifications) < 2.1 * with_kid
    assert await reasons(checks, tokens("third", 20)) == {"ok": 20}


async def test_a_token_without_kid_waits_for_one_fetch() -> None:
    """Its key may be new; where it is not, the token is token_key_unknown."""
    asked: list[tuple[int, str | None]] = []

    class Rotating:
        def refresh_for(self, index: int, kid: str | None) -> Awaitable[bool]:
            asked.append((index, kid))
            return self._fetch()

        async def _fetch(self) -> bool:
            checks.swap(snapshot(issuers=(issuer(kid=False),)))
            return True

    old = parse_key_set(jwks(jwk(rsa_key("old"))), algorithms=RS256, fetched_at=clock.steady())
    checks = service(snapshot(issuers=(Issuer("keys", RS256, keys=old),)), Rotating())
    assert await reasons(checks, tokens("second", 1)) == {"ok": 1}
    assert await reasons(checks, tokens("forged", 1)) == {"token_key_unknown": 1}
    assert asked == [(0, None), (0, None)]

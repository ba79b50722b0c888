"""Checks that wait for a key: they are bounded, and decided by one policy."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from demo import minting
from sidecar.core.decision import DecisionRecord, Deny
from sidecar.core.routes.table import compile_policy
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.extauthz import asking
from sidecar.net import clock
from sidecar.net.clock import steady
from tests.support.checks import allowed, answer, ask, check_request, reason_of, service
from tests.support.policies import PROTECTED, claims, snapshot

GOOD = {"permissions": ["closed:read"]}
ES256 = frozenset({"ES256"})


OLD, FRESH = minting.new_key("old", "ES256"), minting.new_key("fresh", "ES256")


def with_keys(*keys: minting.SigningKey) -> Issuer:
    """Return the issuer with these keys, fetched just now."""
    found = parse_key_set(minting.jwks(*keys), algorithms=ES256, fetched_at=time.time())
    return Issuer(minting.JWKS_ISSUER, ES256, keys=found)


def signed_by_fresh_key() -> bytes:
    """Return a request whose token the key set does not know yet."""
    good = claims(time.time(), iss=minting.JWKS_ISSUER, **GOOD)
    token = minting.sign(good, FRESH).encode()
    return check_request(headers={"authorization": [b"Bearer " + token]})


class Keys:
    """A key source whose refresh is finished by the test."""

    def __init__(self, at_once: bool | None = None) -> None:
        self.at_once = at_once
        self.fetched: asyncio.Future[bool] = asyncio.Future() if at_once is None else None  # type: ignore[assignment]  # -- only for waiting
        self.asked: list[tuple[int, str | None]] = []
        self.was_asked = asyncio.Event()

    def refresh_for(self, issuer: int, kid: str | None) -> Awaitable[bool] | bool:
        """Note the caller."""
        self.asked.append((issuer, kid))
        self.was_asked.set()
        return self.fetched if self.at_once is None else self.at_once


@pytest.mark.parametrize("jump", [-86400.0 * 300, -1.0, 1.0, 86400.0 * 300])
def test_a_jump_of_the_wall_clock_stales_no_key_set_and_refreshes_none(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New tokens, remembered ones and repeats alike; only tokens' own times depend on it."""
    fetched = clock.steady()
    keys = parse_key_set(minting.jwks(OLD), algorithms=ES256, fetched_at=fetched)
    issuer = Issuer(minting.JWKS_ISSUER, ES256, keys=keys)
    good = claims(time.time() + 86400.0 * 600, iss=minting.JWKS_ISSUER, **GOOD)
    message = check_request(
        headers={
            "authorization": [b"Bearer " + minting.sign(good, OLD).encode()],
            "x-request-id": [b"11111111-2222-3333-4444-555555555555"],
        }
    )
    checks = service(snapshot(issuers=(issuer,)))
    for _ in range(3):
        assert allowed(ask(checks, message))
    jumped = time.time
    monkeypatch.setattr(time, "time", lambda: jumped() + jump)
    for _ in range(3):
        assert allowed(ask(checks, message))
    assert allowed(ask(service(snapshot(issuers=(issuer,))), message))
    old = keys._replace(fetched_at=fetched - snapshot().max_stale - 1)
    checks.swap(snapshot(issuers=(issuer._replace(keys=old),)))
    assert reason_of(ask(checks, message)) == "not_ready"


async def test_a_request_with_a_fresh_key_waits_and_is_allowed() -> None:
    """A rotated key causes no denied request."""
    keys = Keys()
    checks = service(snapshot(issuers=(with_keys(OLD),)), keys)
    waiting = asyncio.ensure_future(answer(checks, signed_by_fresh_key()))
    await keys.was_asked.wait()
    checks.swap(snapshot(issuers=(with_keys(OLD, FRESH),)))
    keys.fetched.set_result(True)
    assert allowed(await waiting)
    assert keys.asked == [(0, "fresh")]


@pytest.mark.parametrize(("fetched", "reason"), [(True, "token_key_unknown"), (False, "not_ready")])
async def test_a_key_that_stays_unknown_is_denied(fetched: bool, reason: str) -> None:
    """401 only where a good key set lacked it; else the client keeps its session (503)."""
    for keys in (Keys(at_once=fetched), Keys()):
        if keys.at_once is None:
            keys.fetched.set_result(fetched)
        checks = service(snapshot(issuers=(with_keys(OLD),)), keys)
        assert reason_of(await answer(checks, signed_by_fresh_key())) == reason


@pytest.mark.parametrize("at_once", [True, None])
async def test_a_denial_for_an_unknown_key_says_when_the_keys_were_fetched(
    at_once: bool | None,
) -> None:
    """Beside what the token claims, for the operator's log."""
    keys = Keys(at_once)
    if at_once is None:
        keys.fetched.set_result(True)
    old = with_keys(OLD)
    assert old.keys is not None
    old = old._replace(keys=old.keys._replace(fetched_at=steady() - 12.3))
    records: list[DecisionRecord] = []
    await answer(service(snapshot(issuers=(old,)), keys, records), signed_by_fresh_key())
    denial = records[0].decision
    assert isinstance(denial, Deny)
    assert denial.detail == (
        f"issuer {old.name}: the key set lacks the token's key; keys fetched 12 s ago"
    )
    assert denial.facts is not None
    assert (denial.facts.kid, denial.facts.issuer) == ("fresh", old.name)


async def test_a_restarted_sidecar_waits_for_its_first_key_set() -> None:
    """A token that comes before it is not refused; without one, the client keeps its session."""
    without = with_keys(FRESH)._replace(keys=None)
    keys = Keys()
    checks = service(snapshot(issuers=(without,)), keys)
    waiting = asyncio.ensure_future(answer(checks, signed_by_fresh_key()))
    await keys.was_asked.wait()
    checks.swap(snapshot(issuers=(with_keys(FRESH),)))
    keys.fetched.set_result(True)
    assert allowed(await waiting)
    checks = service(snapshot(issuers=(without,)), Keys(at_once=True))
    assert reason_of(await answer(checks, signed_by_fresh_key())) == "not_ready"


async def test_a_key_is_waited_for_only_so_long() -> None:
    """Until 30 ms before the caller's own deadline, and then without a key set."""
    checks = service(snapshot(issuers=(with_keys(OLD),)), Keys())
    deadline = time.monotonic() + asking.ANSWER_MARGIN_SECONDS
    assert reason_of(await answer(checks, signed_by_fresh_key(), deadline)) == "not_ready"


async def test_a_key_source_that_fails_is_a_denial() -> None:
    """An exception while waiting is an answer like any other fault."""
    keys = Keys()
    keys.fetched.set_exception(RuntimeError())
    checks = service(snapshot(issuers=(with_keys(OLD),)), keys)
    assert reason_of(await answer(checks, signed_by_fresh_key())) == "internal"


async def test_the_number_of_waiting_requests_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past that they are denied, so that memory stays bounded; afterwards all is as before."""
    monkeypatch.setattr(asking, "MAX_WAITING", 1)
    keys = Keys()
    checks = service(snapshot(issuers=(with_keys(OLD),)), keys)
    waiting = asyncio.ensure_future(answer(checks, signed_by_fresh_key()))
    await keys.was_asked.wait()
    assert reason_of(await answer(checks, signed_by_fresh_key())) == "overloaded"
    keys.fetched.set_result(True)
    assert reason_of(await waiting) == "token_key_unknown"
    assert reason_of(await answer(checks, signed_by_fresh_key())) == "token_key_unknown"


async def test_a_request_that_waits_is_decided_by_one_policy() -> None:
    """By the one in force when its key has come: route, requirement and digest of the same."""
    keys = Keys()
    records: list[DecisionRecord] = []
    before = snapshot(issuers=(with_keys(OLD),))
    checks = service(before, keys, records)
    waiting = asyncio.ensure_future(answer(checks, signed_by_fresh_key()))
    await keys.was_asked.wait()
    stricter = replace(PROTECTED, index=0, name="stricter", permissions=("closed:write",))
    policy = compile_policy((stricter,), digest="another")
    checks.swap(before._replace(policy=policy, issuers=(with_keys(OLD, FRESH),)))
    keys.fetched.set_result(True)
    assert reason_of(await waiting) == "permission_denied"
    (record,) = records
    assert (record.decision.route, record.policy_digest) == (stricter, "another")

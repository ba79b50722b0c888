"""The Check service: an answer to everything, and never an error."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from demo import minting
from sidecar.core.decision import DecisionRecord, Deny
from sidecar.core.routes.table import Route, compile_policy
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.extauthz import asking
from sidecar.extauthz import service as service_module
from sidecar.extauthz.respond import AnswerSettings
from sidecar.extauthz.service import CheckService
from sidecar.net import clock
from sidecar.net.clock import steady
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.support.checks import allowed, answer, ask, check_request, reason_of, service
from tests.support.policies import PROTECTED, TABLE, claims, live_bearer, snapshot

GOOD = {"permissions": ["closed:read"]}
ES256 = frozenset({"ES256"})


def test_headers_that_name_the_host_are_removed_as_long_as_the_policy_names_hosts() -> None:
    """Whichever policy is in force: a reload and a promotion swap it."""
    hosted = (*TABLE, Route(3, "hosted", "/hosted", hosts=frozenset({"a.test"}), public=True))
    answers = AnswerSettings(remove_headers=("x-a",), remove_with_hosts=("forwarded",))
    checks = service(snapshot(), answers=answers)
    for routes, wanted in ((TABLE, False), (hosted, True), (TABLE, False)):
        checks.swap(snapshot(routes))
        for _ in range(3):  # the last one is answered from memory
            headers = {"forwarded": [b"x"], "x-request-id": [str(uuid4()).encode()]}
            told = ask(checks, check_request(b"/open/1", headers=headers))
            removed = told.ok_response.headers_to_remove
            assert allowed(told)
            assert ("forwarded" in removed) is wanted
            assert "x-a" in removed


def test_an_allowed_request_is_allowed_and_recorded() -> None:
    """With what the decision log needs."""
    records: list[DecisionRecord] = []
    checks = service(snapshot(), records=records)
    message = check_request(headers={**live_bearer(**GOOD), "x-request-id": [b"an-id"]})
    assert allowed(ask(checks, message))
    assert allowed(ask(checks, message))
    assert [record.cached for record in records] == [False, True]
    record = records[0]
    assert record.decision_id == "an-id"
    assert record.decision.route == PROTECTED
    assert record.peer_info().source == "10.0.0.9:4711"
    assert record.policy_digest == "test"
    assert record.seconds > 0


def test_two_requests_get_their_own_decision_ids() -> None:
    """Though the rest of the answer was built once."""
    checks = service(snapshot())
    for name in ("first", "second"):
        message = check_request(headers={**live_bearer(**GOOD), "x-request-id": [name.encode()]})
        assert ask(checks, message).dynamic_metadata.fields["decision_id"].string_value == name


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "malformed_request"),
        (b"\xff" * 100, "malformed_request"),
        (check_request(b""), "malformed_request"),
        (check_request(b"*"), "malformed_request"),
        (check_request(b"http://a/closed/1"), "malformed_request"),
        (check_request(b"?a"), "malformed_request"),
        (check_request(b"/closed/\xff"), "malformed_request"),
        (check_request(b"/closed/\xff", raw=False), "malformed_request"),
        (check_request(headers={"a": [b"x" * 1_000_000]}), "token_missing"),
        (check_request(headers={f"a{n}": [b"x"] for n in range(10_000)}), "token_missing"),
        (check_request(headers={"authorization": [b""]}), "token_missing"),
        (check_request(headers={"authorization": [b"Bearer x"]}), "token_malformed"),
        (check_request(headers={"authorization": [b"Bearer a.b.c.d.e.f"]}), "token_malformed"),
        (check_request(headers={"authorization": [b"Bearer " + b"x" * 10**6]}), "token_malformed"),
        (check_request(headers={"authorization": [b"Bearer W10.W10.W10"]}), "token_malformed"),
        (
            check_request(headers={"authorization": [b"Bearer a", b"Bearer b"]}),
            "multiple_credentials",
        ),
        (
            check_request(headers={"authorization": [b"Bearer a", b"Bearer b"]}, raw=False),
            "multiple_credentials",
        ),
    ],
)
def test_bad_input_is_a_proper_denial(message: bytes, reason: str) -> None:
    """A CheckResponse with a denied_response, whatever the input."""
    response = ask(service(snapshot()), message)
    assert not allowed(response)
    assert response.denied_response.status.code >= 400
    assert reason_of(response) == reason


@pytest.mark.parametrize("permissions", [None, {"closed:read": True}, 7, "closed:read", [7, None]])
def test_permissions_of_a_wrong_shape_grant_nothing(permissions: object) -> None:
    """Null, an object, a number, text, a list of other things."""
    response = ask(service(snapshot()), check_request(headers=live_bearer(permissions=permissions)))
    assert reason_of(response) == "permission_denied"


@pytest.mark.parametrize("name", ["read_outline", "open_envelope", "decide"])
@pytest.mark.parametrize("result", [RuntimeError, None, True, "allow", b"", object()])
def test_a_fault_inside_is_a_denial(
    name: str, result: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A step raises or returns nonsense: 503, recorded as internal, no detail for the client."""

    def faulty(*_: object) -> object:
        if result is RuntimeError:
            raise RuntimeError("the secret is 42")
        return result

    records: list[DecisionRecord] = []
    checks = service(snapshot(), records=records)
    monkeypatch.setattr(service_module, name, faulty)
    with caplog.at_level(logging.ERROR):
        response = ask(checks, check_request(headers=live_bearer(**GOOD)))
    assert not allowed(response)
    assert response.denied_response.status.code == 503
    assert [record.decision.reason for record in records] == ["internal"]
    assert "a Check failed inside" in caplog.text
    assert "secret" not in caplog.text + str(response)


def test_a_fault_in_everything_is_still_a_denial(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer was built before anything could go wrong."""
    checks = service(snapshot())

    def broken(*_: object) -> bytes:
        raise RuntimeError

    monkeypatch.setattr(checks._responder, "build", broken)
    monkeypatch.setattr(checks, "_remember", broken)
    response = ask(checks, check_request())
    assert response.denied_response.status.code == 503


def test_an_empty_answer_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """To Envoy it would be an allow."""
    checks = service(snapshot())
    monkeypatch.setattr(checks._responder, "build", lambda *_: b"")
    assert not allowed(ask(checks, check_request()))


def test_a_message_too_large_for_a_transport_has_a_denial_ready() -> None:
    """A transport that can tell answers with it; a gRPC error might be an allow."""
    (message,) = service(snapshot()).methods().oversized.values()
    response = CheckResponse.FromString(message)
    assert not allowed(response)
    assert response.denied_response.status.code == 400


def test_work_whose_deadline_has_passed_is_dropped() -> None:
    """The caller has left: a token is not verified for it."""
    checks = service(snapshot())
    message = check_request(headers=live_bearer(**GOOD))
    response = asyncio.run(answer(checks, message, deadline=time.monotonic() - 1))
    assert reason_of(response) == "overloaded"
    assert checks.cached_tokens == 0


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


def test_the_answers_of_one_snapshot_go_with_it() -> None:
    """A new policy is never answered from the old one's cache."""
    checks: CheckService = service(snapshot())
    message = check_request(headers=live_bearer(**GOOD))
    assert allowed(ask(checks, message))
    renamed = PROTECTED.__class__(0, "renamed", PROTECTED.path, permissions=PROTECTED.permissions)
    checks.swap(snapshot((renamed,)))
    assert ask(checks, message).dynamic_metadata.fields["route"].string_value == "renamed"


def test_a_decision_is_recorded_under_the_policy_that_made_it() -> None:
    """Though the policy is swapped before the record is handed over."""
    records: list[DecisionRecord] = []
    later: list[Callable[[], object]] = []
    checks = service(snapshot(), records=records, defer=later.append)
    ask(checks, check_request())
    now = snapshot()
    checks.swap(now._replace(policy=compile_policy(now.policy.routes, digest="another")))
    ask(checks, check_request())
    for deliver in later:
        deliver()
    assert [record.policy_digest for record in records] == ["test", "another"]


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


def test_decisions_are_recorded_after_the_answers_of_a_turn() -> None:
    """Together, after the answers."""
    later: list[object] = []
    records: list[DecisionRecord] = []
    checks = service(snapshot(), records=records, defer=later.append)
    ask(checks, check_request())
    ask(checks, check_request())
    assert not records
    assert len(later) == 1
    later[0]()  # type: ignore[operator]  # -- what was deferred
    assert len(records) == 2

"""The Check service: an answer to everything, and never an error."""

import asyncio
import logging
import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from sidecar.core.decision import DecisionRecord
from sidecar.core.routes.table import Route, compile_policy
from sidecar.extauthz import service as service_module
from sidecar.extauthz.respond import AnswerSettings
from sidecar.extauthz.service import CheckService
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.support.checks import allowed, answer, ask, check_request, reason_of, service
from tests.support.policies import PROTECTED, TABLE, live_bearer, snapshot

GOOD = {"permissions": ["closed:read"]}


def test_headers_that_name_the_host_are_removed_as_long_as_the_policy_names_hosts() -> None:
    """Whichever policy is in force: a reload and a promotion swap it."""
    hosted = (*TABLE, Route(3, "hosted", "/hosted", hosts=frozenset({"a.test"}), public=True))
    answers = AnswerSettings(remove_headers=("x-a",), remove_with_hosts=("forwarded",))
    checks = service(snapshot(), answers=answers)
    for routes, wanted in ((TABLE, False), (hosted, True), (TABLE, False)):
        checks.swap(snapshot(routes))
        for _ in range(3):  # the last one is answered from memory
            sent = {"forwarded": [b"x"], "x-a": [b"x"]}
            headers = {**sent, "x-request-id": [str(uuid4()).encode()]}
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

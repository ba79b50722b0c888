"""Checks that repeat one that was allowed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from uuid import UUID

import pytest

from sidecar.core.decision import DecisionRecord, decide
from sidecar.core.routes.conditions import Condition
from sidecar.core.routes.table import Route
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.extauthz import repeats as repeats_module
from sidecar.extauthz import service as service_module
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.service import CheckService
from sidecar.pb.ext_authz_pb2 import (
    CheckRequest,
    CheckRequestOutline,
    CheckResponse,
)
from tests.support.checks import allowed, ask, check_request, reason_of, service
from tests.support.policies import PROTECTED, PUBLIC, live_bearer, snapshot

GOOD = live_bearer(permissions=["closed:read"])
OTHER = live_bearer(permissions=["closed:read"], user_id=8)
_numbers = count()


def an_id() -> bytes:
    """Return an id as Envoy makes them, another one each time."""
    return str(UUID(int=next(_numbers))).encode()


def question(
    target: bytes = b"/closed/1",
    headers: Mapping[str, Sequence[bytes]] = GOOD,
    own_id: bytes | None = None,
    method: str = "GET",
    host: str = "api.jobfirst.local",
) -> bytes:
    """Return a CheckRequest with an id of its own."""
    ids = {"x-request-id": [own_id or an_id()]}
    return check_request(target, method, {**headers, **ids}, host=host)


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the requests that were decided on, as they come."""
    requests: list[object] = []

    def counting(request: object, *others: object) -> object:
        requests.append(request)
        return decide(request, *others)  # type: ignore[arg-type]  # -- what the service gives it

    monkeypatch.setattr(service_module, "decide", counting)
    return requests


def learn(checks: CheckService, ask_for: Callable[[], bytes] = question) -> CheckResponse:
    """Ask as often as it takes to be remembered; return the last answer."""
    ask(checks, ask_for())
    return ask(checks, ask_for())


def test_a_request_that_is_repeated_is_not_decided_again(decided: list[object]) -> None:
    """From the third time on, and gets the same answer except for its id."""
    records: list[DecisionRecord] = []
    checks = service(snapshot(), records=records)
    before = learn(checks)
    assert len(decided) == 2
    own_id = an_id()
    answer = ask(checks, question(own_id=own_id))
    assert len(decided) == 2
    assert answer.dynamic_metadata.fields["decision_id"].string_value == own_id.decode()
    for each in (before, answer):
        del each.dynamic_metadata.fields["decision_id"]
    assert answer == before
    last = records[-1]
    assert (last.decision_id, last.cached) == (own_id.decode(), True)
    assert last.decision == records[0].decision
    assert last.request == records[0].request
    assert last.peer_info().source == "10.0.0.9:4711"


def test_requests_of_public_routes_are_remembered_too(decided: list[object]) -> None:
    """Its record says that no token was read."""
    records: list[DecisionRecord] = []
    checks = service(snapshot((PUBLIC,)), records=records)
    for _ in range(3):
        ask(checks, question(b"/open/1", {}))
    assert len(decided) == 2
    assert [record.cached for record in records] == [None] * 3


@pytest.mark.parametrize(
    "other",
    [
        question(b"/closed/2"),
        question(headers=OTHER),
        question(headers={**GOOD, "x_user_id": [b"1"]}),
        question(headers={**GOOD, "a": [b""]}),
        question(method="POST"),
        question(b"/closed/1?_method=DELETE"),
        question(host="b.test"),
    ],
    ids=["path", "token", "odd name", "header", "method", "named method", "host"],
)
def test_one_difference_makes_another_request(other: bytes, decided: list[object]) -> None:
    """Which is decided on for itself."""
    checks = service(snapshot())
    learn(checks)
    ask(checks, other)
    assert len(decided) == 3


def test_a_token_that_has_expired_since_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times are checked every time."""
    checks = service(snapshot())
    assert allowed(learn(checks))
    later = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: later)
    assert reason_of(ask(checks, question())) == "token_expired"


def test_nothing_is_remembered_beyond_its_policy() -> None:
    """A stricter policy applies immediately."""
    checks = service(snapshot())
    assert allowed(learn(checks))
    checks.swap(snapshot((PROTECTED.__class__(0, "no", PROTECTED.path, permissions=("x",)),)))
    assert reason_of(ask(checks, question())) == "permission_denied"


def test_a_changed_secret_forgets_what_was_allowed_by_the_old_one(decided: list[object]) -> None:
    """Together with the tokens."""
    checks = service(snapshot())
    learn(checks)
    responder = Responder(AnswerSettings(IdentityHeaders(), (), True, ()))
    now = checks.snapshot
    checks.reload(now, responder, ServiceSettings(), None)
    assert checks.cached_tokens == 1  # no rule for tokens changed
    issuers = tuple(issuer._replace(secrets=(b"x" * 40,)) for issuer in now.issuers)
    checks.reload(now._replace(issuers=issuers), responder, ServiceSettings(), None)
    assert checks.cached_tokens == 0
    assert reason_of(ask(checks, question())) == "token_signature"


def test_a_policy_that_reads_more_of_a_token_reads_it_again() -> None:
    """A remembered token has only the claims that the policy at that time named."""
    checks = service(snapshot())
    headers = live_bearer(permissions=["closed:read"], tenant="acme")
    assert allowed(ask(checks, question(headers=headers)))
    condition = Condition(("tenant",), texts=frozenset({"acme"}))
    now = snapshot([replace(PROTECTED, index=0, claims=(condition,))])
    responder = Responder(AnswerSettings(IdentityHeaders(), (), True, ()))
    checks.reload(now, responder, ServiceSettings(), None)
    assert allowed(ask(checks, question(headers=headers)))
    checks.reload(now._replace(token_max_bytes=64), responder, ServiceSettings(), None)
    assert reason_of(ask(checks, question(headers=headers))) == "token_malformed"


def test_denials_are_not_remembered(decided: list[object]) -> None:
    """A key may come, a token may become valid."""
    checks = service(snapshot())
    for _ in range(3):
        assert not allowed(ask(checks, question(headers={})))
    assert len(decided) == 3


@pytest.mark.parametrize(
    "own_id", [b"-" * 36, b"a" * 35, b"a" * 37, b"\xff" * 36], ids=["odd", "short", "long", "raw"]
)
def test_an_id_that_envoy_did_not_make_is_not_repeated(own_id: bytes) -> None:
    """The answer has an id that is fit to be shown."""
    checks = service(snapshot())
    learn(checks)
    answer = ask(checks, question(own_id=own_id))
    assert allowed(answer)
    shown = answer.dynamic_metadata.fields["decision_id"].string_value
    assert shown.isascii()
    assert shown[0].isalnum()


def test_headers_as_text_beside_a_known_header_map_count() -> None:
    """Envoy fills one of the two; a second token cannot hide in the other."""
    checks = service(snapshot())
    learn(checks)
    message = CheckRequest.FromString(question())
    message.attributes.request.http.headers["authorization"] = "Bearer x"
    assert reason_of(ask(checks, message.SerializeToString())) == "multiple_credentials"


def test_no_more_is_remembered_than_may_be(
    monkeypatch: pytest.MonkeyPatch, decided: list[object]
) -> None:
    """Neither in number nor in size."""
    monkeypatch.setattr(repeats_module, "MAX_REMEMBERED", 2)
    checks = service(snapshot())
    for number in range(9):
        learn(checks, lambda number=number: question(b"/closed/%d" % number))  # type: ignore[misc]  # -- bound here
    ask(checks, question(b"/closed/0"))
    assert len(decided) == 19
    large = {**GOOD, "a": [b"x" * repeats_module.MAX_BYTES]}
    for _ in range(3):
        ask(checks, question(headers=large))
    assert len(decided) == 22


ID_ENTRY = b"\x0a\x34\x0a\x0cx-request-id\x1a\x24"  # an id's, in a header map, up to its value


def test_a_value_that_looks_like_an_ids_entry_is_none() -> None:
    """Here the true id stays and the value changes: the answer has the true one every time."""
    checks = service(snapshot())
    own_id = an_id()
    for _ in range(4):
        headers = {**GOOD, "x-request-id": [own_id], "a": [ID_ENTRY + an_id()]}
        answer = ask(checks, check_request(headers=headers))
        assert answer.dynamic_metadata.fields["decision_id"].string_value == own_id.decode()


def test_a_known_request_that_ends_within_its_id_is_malformed() -> None:
    """And not the known one with a short id."""
    checks = service(snapshot())
    learn(checks)
    for missing in range(1, 36):
        message = CheckRequestOutline.FromString(question())
        header_map = message.attributes.request.http.header_map
        header_map[0] = header_map[0][:-missing]
        assert reason_of(ask(checks, message.SerializeToString())) == "malformed_request"


def test_a_second_header_map_is_seen() -> None:
    """Protobuf would merge the two: which one the upstream got is unknown."""
    checks = service(snapshot())
    learn(checks)
    message = CheckRequestOutline.FromString(question())
    message.attributes.request.http.header_map.append(b"")
    assert reason_of(ask(checks, message.SerializeToString())) == "malformed_request"


def test_an_id_that_is_also_in_the_identity_changes_no_answer() -> None:
    """A client may choose its id to be its name, say."""
    checks = service(snapshot())
    own_id = an_id()
    headers = live_bearer(permissions=["closed:read"], username=own_id.decode())
    answers = [ask(checks, question(headers=headers, own_id=own_id)) for _ in range(4)]
    assert allowed(answers[0])
    assert all(answer == answers[0] for answer in answers)


def test_what_is_remembered_for_one_caller_is_not_for_another(decided: list[object]) -> None:
    """Where a route names callers; elsewhere the peer makes no difference."""
    orders, other = "spiffe://d/orders", "spiffe://d/other"
    for callers in (frozenset({orders}), frozenset[str]()):
        checks = service(snapshot([Route(0, "r", "/closed/1", callers=callers)]))

        def asked(peer: str) -> CheckResponse:
            ids = {"x-request-id": [an_id()]}
            return ask(checks, check_request(headers={**GOOD, **ids}, peer=peer))  # noqa: B023 -- called below

        for _ in range(3):
            assert allowed(asked(orders))
        before = len(decided)
        assert allowed(asked(orders))
        assert len(decided) == before
        for peer in (other, "", orders + "/x"):
            answer = asked(peer)
            assert allowed(answer) is not bool(callers)
            if callers:
                assert reason_of(answer) == "wrong_caller"
        assert allowed(asked(orders))


def test_a_peer_that_is_no_peer_is_malformed_where_callers_are_named() -> None:
    """An identity that is not UTF-8, and bytes that are not a message."""
    checks = service(snapshot([Route(0, "r", "/closed/1", callers=frozenset({"x"}))]))
    message = CheckRequestOutline.FromString(check_request(headers=GOOD))
    for source in (b"\x22\x01\xff", b"\xff\xff"):
        message.attributes.source = source
        assert reason_of(ask(checks, message.SerializeToString())) == "malformed_request"

"""Checks that repeat one that was allowed."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import DecisionRecord, decide
from sidecar.core.routes.conditions import Condition
from sidecar.core.routes.table import Route
from sidecar.core.tokens.credentials import TokenSource
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
    HeaderMap,
    HeaderValue,
)
from tests.support.checks import allowed, ask, check_request, reason_of, service
from tests.support.policies import BEARER, PROTECTED, PUBLIC, live_bearer, snapshot

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
    later = time.time() + 7200
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


_ENTRY = b"\x0a\x34\x0a\x0cx-request-id\x1a\x24"  # an id's, in a header map, up to its value


def test_a_value_that_looks_like_an_ids_entry_is_none() -> None:
    """Here the true id stays and the value changes: the answer has the true one every time."""
    checks = service(snapshot())
    own_id = an_id()
    for _ in range(4):
        headers = {**GOOD, "x-request-id": [own_id], "a": [_ENTRY + an_id()]}
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


# In each request something else stands for `HOLE`.
_HOLE = b"HOLE"
_IDS = [an_id() for _ in range(3)]
_COOKIES = [b"session=" + _HOLE, b"a=1; session=" + _HOLE + b"; b=" + _HOLE, b"a=" + _HOLE]
_values = st.sampled_from(
    [b"", b"a", _HOLE, _ENTRY + _HOLE, _ENTRY + _HOLE + b"b", _ENTRY * 2, *_COOKIES]
)
_names = st.sampled_from(["a", "x-request-id", "X-Request-Id", "x_user_id", ":path", "cookie"])
_ids = st.sampled_from([*_IDS * 3, b"y" * 36, b"-" * 36, _ENTRY * 2, b""])


def _message(entries: Sequence[tuple[str, bytes, bool]], hole: bytes, missing: int) -> bytes:
    """Return a CheckRequest with these headers, of which some are cut short, and the whole too."""
    block = b""
    for name, value, cut_short in entries:
        header = HeaderValue(key=name, raw_value=value.replace(_HOLE, hole))
        entry = HeaderMap(headers=[header]).SerializeToString()
        block += entry[:-1] if cut_short else entry
    message = CheckRequestOutline()
    http = message.attributes.request.http
    http.method, http.host = "GET", "api.jobfirst.local"
    http.header_map.append(block[: len(block) - missing])
    return message.SerializeToString()


@given(
    others=st.lists(st.tuples(_names, _values, st.sampled_from([False] * 5 + [True])), max_size=3),
    target=st.sampled_from(
        [
            b"/closed/1",
            b"/closed/" + _HOLE,
            b"/closed/1?a=1&token=" + _HOLE,
            b"/closed/1?token[" + _HOLE + b"]=1",
            b"/closed/1?_method=" + _HOLE,
        ]
    ),
    order=st.randoms(use_true_random=False),
    asked=st.lists(
        st.tuples(_ids, st.sampled_from(_IDS), st.just(0) | st.integers(0, 60)),
        min_size=3,
        max_size=8,
    ),
)
def test_a_service_that_remembers_answers_as_one_that_does_not(
    others: list[tuple[str, bytes, bool]],
    target: bytes,
    order: random.Random,
    asked: list[tuple[bytes, bytes, int]],
) -> None:
    """Whatever headers and query hold, and wherever the id stands, or seems to."""
    records: list[DecisionRecord] = []
    checks = withholding_service(records)
    entries = [(":path", target, False), ("authorization", GOOD["authorization"][0], False)]
    entries += [*others, ("x-request-id", b"ID", False)]
    order.shuffle(entries)
    for own_id, hole, missing in [(_IDS[0], _IDS[1], 0)] * 2 + asked:
        sent = [(name, value.replace(b"ID", own_id), cut) for name, value, cut in entries]
        made_up = _answered_as_by_another(checks, records, _message(sent, hole, missing))
        assert not made_up & {each.decode("latin-1") for each in (own_id, hole)}


def withholding_service(records: list[DecisionRecord]) -> CheckService:
    """Return a service whose answers depend on cookies and query too."""
    sources = (BEARER, TokenSource("cookie", "session"), TokenSource("query", "token"))
    answers = AnswerSettings(forward_authorization=False, token_sources=sources)
    return service(snapshot(), records=records, answers=answers)


def _answered_as_by_another(
    checks: CheckService, records: list[DecisionRecord], message: bytes
) -> set[str]:
    """Ask this service and one that knows nothing; return the ids, where each made up its own."""
    answers = [ask(checks, message), ask(withholding_service(records), message)]
    recorded = [(each.request, each.peer_info()) for each in records[-2:]]
    assert recorded[0] == recorded[1]
    shown = {each.dynamic_metadata.fields["decision_id"].string_value for each in answers}
    made_up = shown if len(shown) == 2 else set()
    for answer in answers if made_up else ():
        answer.denied_response.body = answer.denied_response.body[:80]
        del answer.dynamic_metadata.fields["decision_id"]
    assert answers[0] == answers[1]
    return made_up


def _field(tag: int, payload: bytes, beyond: int = 0) -> bytes:
    """Return a field whose length is its payload's, or is not."""
    size = len(payload) + beyond
    return bytes([tag, size & 0x7F | 0x80, size >> 7] if size > 0x7F else [tag, size]) + payload


def _check_of(
    http: bytes, beginnings: Sequence[bytes] = (b"",) * 3, beyond: Sequence[int] = (0,) * 3
) -> bytes:
    """Return a CheckRequest: attributes, the request in them and its HTTP, each begun by these."""
    inner = http
    for tag, begin, more in zip((0x12, 0x22, 0x0A), beginnings, beyond, strict=True):
        inner = _field(tag, begin + inner, more)
    return inner


# Source, time and id differ in each of Envoy's. Here the length of one has two bytes and needs one,
# and two end too early or take in what follows.
_PIPE = b"\x0a\x05\x12\x03\x0a\x01/"
_fitting = [b"", b"\x0a\0", _field(0x0A, _PIPE), b"\x0a\x81\0a", _field(0x0A, b"a" * 129)]
_wrong = [_field(0x0A, _PIPE, -7), _field(0x0A, b"a", 4), _field(0x0A, b"a", 60)]
_varying = st.sampled_from([*_fitting * 4, *_wrong])
_destination = st.sampled_from([b"", b"\x12\1a"])
_beginnings = st.tuples(_varying, _varying, st.builds(bytes.__add__, _varying, _destination))
_PLAIN = ((b"",) * 3, (0,) * 3)
_AS_TEXT = _field(0x1A, b"\x0a\1a" + _field(0x12, _HOLE * 9))  # a header


@given(
    before=st.sampled_from([b"", _check_of(b""), _check_of(b"") + _check_of(_AS_TEXT)]),
    asked=st.lists(
        st.tuples(
            st.just(_PLAIN[0]) | _beginnings,
            st.just(_PLAIN[1]) | st.tuples(*[st.sampled_from([0, 0, -1, 1, 200])] * 3),
            st.sampled_from(_IDS),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_what_a_message_begins_with_changes_no_answer(
    before: bytes, asked: list[tuple[tuple[bytes, ...], tuple[int, ...], bytes]]
) -> None:
    """Neither do lengths that are wrong, nor attributes that come twice: protobuf merges them."""
    records: list[DecisionRecord] = []
    checks = withholding_service(records)
    for beginnings, beyond, hole in [(*_PLAIN, _IDS[0])] * 2 + asked:
        http = CheckRequestOutline.FromString(question()).attributes.request.http
        message = _check_of(http.SerializeToString(), beginnings, beyond)
        _answered_as_by_another(checks, records, before.replace(_HOLE * 9, hole) + message)


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

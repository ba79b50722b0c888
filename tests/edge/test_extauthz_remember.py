"""What the sidecar permits an Envoy that remembers, and what that Envoy tells."""

import logging
import math
import time
from typing import Any
from uuid import uuid4

import pytest

from sidecar.core.decision import DecisionRecord, MemoryUse
from sidecar.core.remembering import coverage, deciding_headers
from sidecar.core.tokens.credentials import TokenSource
from sidecar.extauthz.remembering import MAX_BYTES, Question, read_question
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.service import CheckService
from sidecar.pb.ext_authz_pb2 import CheckRequest, CheckRequestOutline, CheckResponse, Metadata
from tests.support.checks import ask, check_request, service
from tests.support.policies import live_bearer, snapshot

GOOD = {"permissions": ["closed:read"]}
BEARER = TokenSource("header", "authorization", "Bearer")
ANSWERS = AnswerSettings(token_sources=(BEARER,))


def _metadata(**asks: Any) -> bytes:
    metadata = Metadata()
    metadata.filter_metadata["zervi.question"].update({"asks": asks})
    return metadata.SerializeToString()


def _covers(answers: AnswerSettings = ANSWERS) -> str:
    return coverage(deciding_headers(answers.token_sources), Responder(answers).removed)


def _asking(message: bytes, metadata: bytes) -> bytes:
    """Return a CheckRequest with the metadata at its end, as Envoy sends it."""
    outline = CheckRequestOutline()
    outline.attributes.metadata_context = metadata
    return message + outline.SerializeToString()


def _question(message: bytes, **asks: Any) -> bytes:
    return _asking(message, _metadata(**{"number": 1, "covers": _covers(), **asks}))


def _request(**headers: list[bytes]) -> bytes:
    return check_request(headers={**live_bearer(**GOOD), **headers})


def _permitted(response: CheckResponse) -> float | None:
    fields = response.dynamic_metadata.fields
    return fields["remember_ms"].number_value if "remember_ms" in fields else None


def test_an_allow_says_for_how_long_and_what_it_sets() -> None:
    response = ask(service(snapshot(), answers=ANSWERS), _question(_request()))
    assert _permitted(response) == 5000
    fields = response.dynamic_metadata.fields
    identity = dict(fields["identity"].struct_value)
    assert identity == {each.header.key: each.header.value for each in response.ok_response.headers}
    assert identity["x-user-id"] == "7"


def test_an_envoy_that_does_not_remember_gets_the_same_answer_as_before() -> None:
    checks = service(snapshot(), answers=ANSWERS)
    plain = ask(checks, _request())
    assert "identity" not in plain.dynamic_metadata.fields
    assert _permitted(plain) is None
    asked = ask(checks, _question(_request()))
    for name in ("remember_ms", "identity"):
        del asked.dynamic_metadata.fields[name]
    for answer in (plain, asked):
        del answer.dynamic_metadata.fields["decision_id"]
    assert plain == asked


def test_each_question_gets_the_time_that_is_left_though_the_request_repeats() -> None:
    """A cached answer must not carry the time of its first question."""
    checks = service(snapshot(), answers=ANSWERS)
    expires = time.time() + 4
    token = live_bearer(**GOOD, exp=int(expires))
    request = check_request(headers={**token, "x-request-id": [str(uuid4()).encode()]})
    times = [4000.0]
    while len({*times}) < 4:  # milliseconds pass
        permitted = _permitted(ask(checks, _question(request)))
        assert permitted is not None
        times.append(permitted)
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("exp", [-20, 0])
def test_nothing_is_remembered_within_the_leeway_after_exp(exp: int) -> None:
    request = check_request(headers=live_bearer(**GOOD, exp=int(time.time()) + exp))
    assert _permitted(ask(service(snapshot(), answers=ANSWERS), _question(request))) == 0


def test_a_denial_says_nothing() -> None:
    response = ask(service(snapshot(), answers=ANSWERS), _question(check_request()))
    assert response.HasField("denied_response")
    assert _permitted(response) is None


@pytest.mark.parametrize("name", ["x.user.id", "x-user.id"])
def test_a_request_with_an_odd_spelling_is_not_remembered(name: str) -> None:
    checks = service(snapshot(), answers=ANSWERS)
    assert _permitted(ask(checks, _question(_request(**{name: [b"3"]})))) == 0
    assert _permitted(ask(checks, _question(_request(**{"x-other": [b"3"]})))) == 5000


def test_a_request_whose_token_is_cut_out_of_a_header_is_not_remembered() -> None:
    sources = (BEARER, TokenSource("cookie", "session"))
    answers = AnswerSettings(token_sources=sources, forward_authorization=False)
    checks = service(snapshot(), answers=answers)
    for cookie, expected in ((b"session=; a=b", 0), (b"a=b", 5000)):
        message = _question(_request(cookie=[cookie]), covers=_covers(answers))
        assert _permitted(ask(checks, message)) == expected


@pytest.mark.parametrize("covers", ["", "0123456789abcdef", None, 7])
def test_an_envoy_generated_from_another_configuration_may_remember_nothing(
    covers: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        response = ask(service(snapshot(), answers=ANSWERS), _question(_request(), covers=covers))
    assert _permitted(response) == 0
    assert "generate envoy --remember" in caplog.text


def test_the_digest_follows_a_reload() -> None:
    checks = service(snapshot(), answers=ANSWERS)
    assert _permitted(ask(checks, _question(_request()))) == 5000
    answers = AnswerSettings(token_sources=(BEARER,), remove_headers=("x-new",))
    checks.reload(snapshot(), Responder(answers), checks._settings, None)
    assert _permitted(ask(checks, _question(_request()))) == 0
    assert _permitted(ask(checks, _question(_request(), covers=_covers(answers)))) == 5000


def test_what_was_answered_from_memory_is_recorded() -> None:
    records: list[DecisionRecord] = []
    checks = service(snapshot(), answers=ANSWERS, records=records)
    ask(checks, _question(_request(), repeats=3, routes={"orders": 3, "users": 4}))
    ask(checks, _question(check_request(), repeats=2))
    ask(checks, _request())
    assert [record.memory_use for record in records] == [
        MemoryUse(3, (("orders", 3), ("users", 4))),
        MemoryUse(2),
        None,
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"\xff",
        b"\x0a\x02\x0a\x00",
        _metadata()[:-3],
        b"\x00" * (MAX_BYTES + 1),
        Metadata().SerializeToString(),
    ],
)
def test_other_metadata_is_no_question(metadata: bytes) -> None:
    assert read_question(metadata) is None
    response = ask(service(snapshot(), answers=ANSWERS), _asking(_request(), metadata))
    assert response.dynamic_metadata.fields["reason"].string_value == "ok"
    assert _permitted(response) is None


@pytest.mark.parametrize(
    "asks",
    [
        {"repeats": -1},
        {"repeats": math.nan},
        {"repeats": math.inf},
        {"repeats": 1e30},
        {"repeats": "7"},
        {"repeats": {"a": 1}},
        {"routes": "x"},
        {"routes": {"a": -1, "b": "x", "c": math.nan}},
        {"routes": [1, 2]},
        {"covers": {"a": 1}},
    ],
    ids=str,
)
def test_senseless_numbers_count_as_none(asks: dict[str, Any]) -> None:
    assert read_question(_metadata(**asks)) == Question("", MemoryUse())


def test_at_most_a_bounded_number_of_routes_is_read() -> None:
    routes = {f"route-{number}": 1 for number in range(500)}
    question = read_question(_metadata(routes=routes))
    assert question is not None
    assert len(question.memory_use.routes) == 32


def test_a_message_with_metadata_twice_is_no_way_to_another_answer() -> None:
    """Protobuf takes the last of two; the sidecar reads no more of it than that."""
    message = _asking(_asking(_request(), b"\xff"), _metadata(covers=_covers()))
    assert _permitted(ask(service(snapshot(), answers=ANSWERS), message)) == 5000
    assert CheckRequest.FromString(message)


def test_a_repeated_request_without_metadata_is_answered_from_its_own_memory() -> None:
    checks: CheckService = service(snapshot(), answers=ANSWERS)
    for _ in range(4):
        request = _request(**{"x-request-id": [str(uuid4()).encode()]})
        assert _permitted(ask(checks, request)) is None
        assert _permitted(ask(checks, _question(request))) == 5000

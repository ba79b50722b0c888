"""What a registry's answers mean, and what of them is ignored."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.looma.answers import MAX_BODY_BYTES, Answer, outcome_of
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.registry import Failed, Ok, Outcome, RetryAfter, Unauthorized, Unregistered
from tests.edge.looma_rig import http_caller, server
from tests.support.ports import free_port


def read(answer: Answer) -> tuple[Outcome, list[str]]:
    """Return the outcome, and the warnings of ignored parts."""
    lines: list[str] = []
    return outcome_of(answer, lambda kind, text: lines.append(text)), lines


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", Ok()),
        (b"{}", Ok()),
        (b'{"ttl_seconds": 300, "heartbeat_interval_seconds": 45.5}', Ok(300.0, 45.5)),
        (b'{"success": true, "unknown": [1]}', Ok()),
        (b'{"ttl_seconds": null}', Ok()),
    ],
)
def test_what_is_understood_is_obeyed(body: bytes, outcome: Outcome) -> None:
    assert read(Answer(200, body)) == (outcome, [])
    assert read(Answer(201, body)) == (outcome, [])


@pytest.mark.parametrize(
    ("body", "outcome", "line"),
    [
        (b'{"ttl_seconds": "300"}', Ok(), "ttl_seconds is not a number of seconds: ignored"),
        (b'{"ttl_seconds": true}', Ok(), "ttl_seconds is not a number of seconds: ignored"),
        (b'{"ttl_seconds": [300]}', Ok(), "ttl_seconds is not a number of seconds: ignored"),
        (b'{"ttl_seconds": NaN}', Ok(), "ttl_seconds is not a number of seconds: ignored"),
        (b'{"ttl_seconds": 1e999}', Ok(), "ttl_seconds is not a number of seconds: ignored"),
        (b'{"ttl_seconds": -5}', Ok(), "ttl_seconds is not greater than 0: ignored"),
        (b'{"ttl_seconds": 0}', Ok(), "ttl_seconds is not greater than 0: ignored"),
        (b'{"ttl_seconds": 0.001}', Ok(5.0), "ttl_seconds is out of range: 5 s is used"),
        (
            b'{"ttl_seconds": 1' + b"0" * 400 + b"}",
            Ok(86_400.0),
            "ttl_seconds is out of range: 86400 s is used",
        ),
        (b'{"ttl_seconds": 1e12}', Ok(86_400.0), "ttl_seconds is out of range: 86400 s is used"),
        (
            b'{"heartbeat_interval_seconds": 1e-9}',
            Ok(interval=1.0),
            "heartbeat_interval_seconds is out of range: 1 s is used",
        ),
        (
            b'{"heartbeat_interval_seconds": 99999}',
            Ok(interval=3600.0),
            "heartbeat_interval_seconds is out of range: 3600 s is used",
        ),
        (b"[]", Ok(), "the answer is not a JSON object: ignored"),
        (b"<html>", Ok(), "the answer is not a JSON object: ignored"),
        (b'{"ttl_seconds": "\xff', Ok(), "the answer is not a JSON object: ignored"),
        (b"[" * 60_000, Ok(), "the answer is not a JSON object: ignored"),
        (None, Ok(), f"the answer is longer than {MAX_BODY_BYTES} bytes: ignored"),
    ],
)
def test_what_is_senseless_is_ignored_and_said(
    body: bytes | None, outcome: Outcome, line: str
) -> None:
    assert read(Answer(200, body)) == (outcome, [line])


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(404, b"<html>not here</html>"),
        Answer(200, b'{"code": 20404}'),
        Answer(200, b'{"success": false, "message": "Unknown instance basic-1"}'),
        Answer(400, b'{"error": "instance not found"}'),
        Answer(500, b'{"message": "service x is not registered"}'),
    ],
)
def test_every_way_of_saying_unknown_instance_is_understood(answer: Answer) -> None:
    assert read(answer) == (Unregistered(), [])


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(401), Unauthorized("HTTP status 401")),
        (Answer(403, b'{"code": "NO_WAY"}'), Unauthorized("HTTP status 403, code NO_WAY")),
        (Answer(429, retry_after=7.0), RetryAfter(7.0, "HTTP status 429")),
        (Answer(503, retry_after=0.0), RetryAfter(0.0, "HTTP status 503")),
        (Answer(503), RetryAfter(5.0, "HTTP status 503")),
        (Answer(500, b'{"code": 1001}'), Failed("HTTP status 500, code 1001")),
        (Answer(400), Failed("HTTP status 400")),
        (Answer(100), Failed("HTTP status 100")),
        (Answer(200, b'{"success": false}'), Failed("HTTP status 200 with success: false")),
    ],
)
def test_refusals_and_failures_are_told_apart(answer: Answer, outcome: Outcome) -> None:
    assert read(answer) == (outcome, [])


@pytest.mark.parametrize(
    "code",
    ['"eyJhbGciOiJIUzI1NiJ9.eyJzZXJ2aWNlX2lkIjoiYSJ9.c2ln"', '"A B"', '"A\\nB"', "[1]", "1e300"],
)
def test_an_error_code_that_is_no_plain_word_stays_out_of_the_log(code: str) -> None:
    """It might be our token, sent back."""
    outcome, _ = read(Answer(500, b'{"code": ' + code.encode() + b"}"))
    assert outcome == Failed("HTTP status 500")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(
            ["success", "code", "message", "error", "ttl_seconds", "heartbeat_interval_seconds"]
        ),
        JSON,
    ),
)
def test_no_answer_raises_and_no_number_leaves_its_bounds(status: int, body: Any) -> None:
    outcome, _ = read(Answer(status, json.dumps(body).encode()))
    if isinstance(outcome, Ok):
        assert outcome.ttl is None or 5 <= outcome.ttl <= 86_400
        assert outcome.interval is None or 1 <= outcome.interval <= 3_600


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with http_caller() as caller:
        yield caller


def http(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (http("200 OK", b"{}"), Answer(200, b"{}")),
        (http("200 OK", b"x" * MAX_BODY_BYTES), Answer(200, b"x" * MAX_BODY_BYTES)),
        (http("200 OK", b"x" * (MAX_BODY_BYTES + 1)), Answer(200, None)),
        (http("503 Busy\r\nRetry-After: 12"), Answer(503, b"", 12.0)),
        (http("503 Busy\r\nRetry-After: -1"), Answer(503, b"")),
        (http("503 Busy\r\nRetry-After: soon"), Answer(503, b"")),
        (http(f"503 Busy\r\nRetry-After: {'9' * 400}"), Answer(503, b"")),
        (http("503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT"), Answer(503, b"", 0.0)),
        (http("503 Busy\r\nRetry-After: Fri, 31 Dec 99999 23:59:59"), Answer(503, b"")),
        (http("302 Found\r\nLocation: /"), Failed("a redirect (302), which is not followed")),
        (b"220 smtp ESMTP\r\n", Failed("the answer is not valid HTTP")),
        (b"", Failed("the connection was closed without an answer")),
        (
            http("200 OK\r\nContent-Length: 9", b"{"),
            Failed("the body ended early"),
        ),
        (http("200 OK\r\nX: " + "x" * 100_000), Failed("the answer is not valid HTTP")),
    ],
)
async def test_a_call_returns_an_answer_or_why_there_is_none(
    caller: HttpCaller, sent: bytes, received: Answer | Failed
) -> None:
    async with server(sent) as registry:
        assert await caller("GET", f"http://127.0.0.1:{registry.port}/") == received


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_connection_that_ends_unanswered_is_not_asked_again(
    caller: HttpCaller, method: str
) -> None:
    """One call is one request: when to repeat it is the reporter's to say."""
    async with server(b"") as registry:
        unanswered = await caller(method, f"http://127.0.0.1:{registry.port}/")
        assert unanswered == Failed("the connection was closed without an answer")
        assert registry.accepted == 1


async def test_a_date_to_come_back_at_is_read_as_seconds(caller: HttpCaller) -> None:
    late = http("429 Slow\r\nRetry-After: Fri, 31 Dec 2100 23:59:59 GMT")
    async with server(late) as registry:
        answer = await caller("GET", f"http://127.0.0.1:{registry.port}/")
    assert isinstance(answer, Answer)
    assert answer.retry_after is not None
    assert answer.retry_after > 3600


async def test_a_registry_that_is_not_there_is_a_failure(caller: HttpCaller) -> None:
    answer = await caller("GET", f"http://user:hidden@127.0.0.1:{free_port()}/")
    assert isinstance(answer, Failed)
    assert "hidden" not in answer.detail


async def test_no_cookie_is_kept_and_no_compression_is_asked_for(caller: HttpCaller) -> None:
    async with server(http("200 OK\r\nSet-Cookie: a=b; Path=/")) as registry:
        for _ in range(2):
            await caller("POST", f"http://127.0.0.1:{registry.port}/", {"x": "é"})
    assert b"Cookie" not in registry.received[1]
    assert b"Accept-Encoding: identity\r\n" in registry.received[1]
    assert b"Content-Type: application/json\r\n" in registry.received[1]

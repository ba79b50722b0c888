"""gRPC's rules for a server, with raw frames where grpcio's client cannot make such a call."""

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.rpc import PLAIN_BODY
from sidecar.transport.h2.wire import DEFAULT_WINDOW
from sidecar.transport.interface import Methods, RpcError
from tests.edge.h2.peer import (
    ECHO,
    HEADERS,
    Serving,
    block,
    data,
    headers,
    prefixed,
    request,
)

DENIED = b"\x0a\x02\x08\x07"
DRAINED = "/test.Echo/Drained"


def refuse(_message: bytes, _deadline: float | None) -> bytes:
    raise RpcError(5, "nicht da: 100 % größer\n")


METHODS = Methods(
    {ECHO: lambda message, _: message, DRAINED: lambda message, _: message, "/t/Refuse": refuse},
    {},
    {DRAINED: DENIED},
)


def answer(octets: bytes) -> tuple[dict[str, str], bytes, dict[str, str]]:
    """Return headers, body and trailers of the answer on stream 1."""
    serving = Serving(METHODS)
    serving.feed(octets)
    return serving.answer_on(1)


def status_of(octets: bytes) -> tuple[str, str]:
    """Return the gRPC status and message of an answer that is only an error."""
    found, body, trailers = answer(octets)
    assert (found[":status"], found["content-type"]) == ("200", "application/grpc")
    assert (body, trailers) == (b"", {})
    return found["grpc-status"], found["grpc-message"]


def call(*more: tuple[str, str], path: str = ECHO, body: bytes = prefixed(b"hi")) -> bytes:
    """Return a call with different headers or a different body."""
    kept = [
        (name, path if name == ":path" else value)
        for name, value in HEADERS
        if name not in dict(more)
    ]
    pseudo = [header for header in more if header[0].startswith(":")]
    rest = [header for header in more if not header[0].startswith(":")]
    return headers(1, payload=block(headers=[*pseudo, *kept, *rest])) + data(1, body)


def test_an_answer_is_headers_a_message_and_a_status() -> None:
    assert answer(request(1, b"hello")) == (
        {":status": "200", "content-type": "application/grpc"},
        prefixed(b"hello"),
        {"grpc-status": "0"},
    )


@pytest.mark.parametrize(
    "content_type",
    ["application/grpc", "application/grpc+proto", "application/grpc;x=y", "Application/GRPC"],
)
def test_a_grpc_content_type_is_served(content_type: str) -> None:
    assert answer(call(("content-type", content_type)))[2] == {"grpc-status": "0"}


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/grpc-web", "application/grpc+json", "application/grpcx", ""],
)
def test_a_content_type_other_than_grpc_is_415(content_type: str) -> None:
    found, body, _ = answer(call(("content-type", content_type)))
    assert (found[":status"], body) == ("415", PLAIN_BODY)


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "HEAD"])
def test_a_method_other_than_post_is_405(method: str) -> None:
    found, body, _ = answer(call((":method", method)))
    assert (found[":status"], found["allow"]) == ("405", "POST")
    assert body == (b"" if method == "HEAD" else PLAIN_BODY)


@pytest.mark.parametrize("path", ["/test.Echo/Other", "/", "/test.Echo", "*"])
def test_an_unknown_method_is_unimplemented(path: str) -> None:
    if path == "*":
        octets = call((":method", "OPTIONS"), (":path", "*"))
        assert answer(octets)[0][":status"] == "405"
    else:
        assert status_of(call(path=path)) == ("12", "unknown method")


def test_a_methods_error_is_percent_encoded() -> None:
    code, message = status_of(call(path="/t/Refuse"))
    assert (code, message) == ("5", "nicht da: 100 %25 gr%C3%B6%C3%9Fer")


CUT_OFF = "truncated message"
BODIES = {
    "none": (b"", ("12", "expected one message, received none")),
    "two": (prefixed(b"a") * 2, ("12", "expected one message, received more")),
    "a prefix cut off": (b"\0\0\0", ("13", CUT_OFF)),
    "a message cut off": (prefixed(b"abc")[:-1], ("13", CUT_OFF)),
    "more": (prefixed(b"abc") + b"d", ("12", "expected one message, received more")),
    "a flag that is none": (
        b"\x02\0\0\0\0",
        ("13", "compressed message without grpc-encoding"),
    ),
    "compressed without saying how": (
        b"\x01\0\0\0\x01x",
        ("13", "compressed message without grpc-encoding"),
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_not_one_message_is_an_error(kind: str) -> None:
    body, status = BODIES[kind]
    assert status_of(call(body=body)) == status


def test_a_compressed_message_is_unimplemented_and_the_answer_names_identity() -> None:
    found, _, _ = answer(call(("grpc-encoding", "gzip"), body=b"\x01\0\0\0\x01x"))
    assert (found["grpc-status"], found["grpc-accept-encoding"]) == ("12", "identity")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_message_that_is_not_compressed_is_served_with_any_grpc_encoding(encoding: str) -> None:
    assert answer(call(("grpc-encoding", encoding)))[1] == prefixed(b"hi")


def test_a_call_without_a_body_is_unimplemented() -> None:
    assert status_of(headers(1, end=True))[0] == "12"


@pytest.mark.parametrize("timeout", ["", "1", "S", "-1S", "1.5S", "123456789S", "1s", "1 S", "1S1"])
def test_an_invalid_timeout_is_an_error(timeout: str) -> None:
    assert status_of(call(("grpc-timeout", timeout))) == ("13", "malformed grpc-timeout")


def test_a_message_that_is_too_large_is_drained_and_gets_the_oversized_answer() -> None:
    serving = Serving(METHODS)
    serving.feed(call(path=DRAINED)[: -len(data(1, prefixed(b"hi")))])
    serving.feed(headers(3))
    piece = bytes(limits.MAX_FRAME)
    for _ in range(limits.MAX_MESSAGE // limits.MAX_FRAME + 1):
        serving.feed(data(1, piece, end=False))
        assert serving.budget.held <= limits.MAX_MESSAGE + 2 * limits.STREAM_BYTES
    assert serving.budget.held == 2 * limits.STREAM_BYTES
    serving.feed(data(1, b"") + data(3, prefixed(b"small")))
    assert serving.answer_on(1)[1] == prefixed(DENIED)
    assert serving.answer_on(3)[1] == prefixed(b"small")


def test_a_message_that_is_too_large_is_resource_exhausted_without_an_oversized_answer() -> None:
    serving = Serving(METHODS)
    serving.feed(headers(1))
    for _ in range(limits.MAX_MESSAGE // limits.MAX_FRAME + 1):
        serving.feed(data(1, bytes(limits.MAX_FRAME), end=False))
    serving.feed(data(1, b""))
    assert serving.answer_on(1)[0]["grpc-status"] == "8"


def test_every_header_block_sets_the_table_size_to_zero() -> None:
    serving = Serving(METHODS)
    serving.feed(wire.settings({wire.HEADER_TABLE_SIZE: 0}))
    serving.feed(request(1, b"a") + call(path="/t/Refuse").replace(b"\0\0\0\x01", b"\0\0\0\x03"))
    assert serving.answer_on(1)[1] == prefixed(b"a")
    assert serving.answer_on(3)[0]["grpc-status"] == "5"
    blocks = [frame.data for frame in serving.frames if isinstance(frame, HeadersFrame)]
    assert [octets.startswith(b"\x20") for octets in blocks] == [True, True, True]


def test_a_larger_window_is_acknowledged_before_it_is_used() -> None:
    serving = Serving(METHODS)
    serving.feed(wire.settings({wire.INITIAL_WINDOW_SIZE: 0}) + request(1, b"held back"))
    before = len(serving.frames)
    serving.feed(wire.settings({wire.INITIAL_WINDOW_SIZE: 1000}))
    acknowledgement, *rest = serving.frames[before:]
    assert isinstance(acknowledgement, SettingsFrame)
    assert [type(frame).__name__ for frame in rest] == ["DataFrame", "HeadersFrame"]
    assert serving.answer_on(1)[1] == prefixed(b"held back")


def sent_data(serving: Serving) -> int:
    """Return the number of DATA bytes that were sent."""
    return sum(len(frame.data) for frame in serving.frames if isinstance(frame, DataFrame))


@pytest.mark.parametrize("size", [1_000, 50_000])
def test_all_answers_share_the_window_of_the_connection(size: int) -> None:
    serving = Serving(METHODS)
    serving.feed(wire.settings({wire.INITIAL_WINDOW_SIZE: 2**31 - 1}))
    numbers = range(1, 201, 2) if size == 1_000 else range(1, 7, 2)
    for number in numbers:
        whole = prefixed(bytes(size))
        serving.feed(headers(number))
        for start in range(0, len(whole), 16_384):
            last = start + 16_384 >= len(whole)
            serving.feed(data(number, whole[start : start + 16_384], end=last))
    assert sent_data(serving) == DEFAULT_WINDOW
    serving.feed(wire.window_update(0, 10_000))
    assert sent_data(serving) == DEFAULT_WINDOW + 10_000
    serving.feed(wire.window_update(0, 2**30))
    for number in numbers:
        assert serving.answer_on(number)[1:] == (prefixed(bytes(size)), {"grpc-status": "0"})


def test_an_answer_that_waits_for_a_window_is_dropped_when_the_caller_cancels() -> None:
    serving = Serving(METHODS)
    serving.feed(wire.settings({wire.INITIAL_WINDOW_SIZE: 0}) + request(1, b"hello"))
    serving.feed(wire.rst_stream(1, wire.ErrorCode.CANCEL))
    before = len(serving.frames)
    serving.feed(wire.settings({wire.INITIAL_WINDOW_SIZE: 1000}) + wire.window_update(0, 1000))
    assert [type(frame).__name__ for frame in serving.frames[before:]] == ["SettingsFrame"]

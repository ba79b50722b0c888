"""The protocol on asyncio, with a fake transport that records its calls."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame

from sidecar.transport.h2 import limits, wire
from sidecar.transport.interface import Methods
from tests.edge.h2.joined import Rig
from tests.edge.h2.peer import (
    ECHO,
    HEADERS,
    block,
    data,
    headers,
    prefixed,
    request,
)

CANCEL = wire.ErrorCode.CANCEL


def echo(message: bytes, _deadline: float | None) -> bytes:
    return message


def call(path: str, number: int = 1, message: bytes = b"", timeout: str = "") -> bytes:
    """Return a call of a given method."""
    fields = [(name, path if name == ":path" else value) for name, value in HEADERS]
    more = [("grpc-timeout", timeout)] if timeout else []
    return headers(number, payload=block(headers=[*fields, *more])) + data(
        number, prefixed(message)
    )


class Hanging:
    """A method that waits for ever and records its cancellation."""

    def __init__(self) -> None:
        self.started = self.cancelled = 0

    async def __call__(self, _message: bytes, _deadline: float | None) -> bytes:
        self.started += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1
        return b""


async def settled() -> None:
    """Let every ready task run."""
    for _ in range(5):
        await asyncio.get_running_loop().run_in_executor(None, bytes)


def many(number: int) -> bytes:
    """Return ``number`` requests."""
    return b"".join(request(stream, b"hi") for stream in range(1, 2 * number, 2))


async def test_requests_of_one_read_are_answered_in_a_few_immediate_writes() -> None:
    """The caller processes the first answers while the next are made."""
    rig = Rig(Methods({ECHO: echo}, {}))
    rig.protocol.data_received(many(2 * limits.ANSWERS_A_WRITE + 4))
    assert len(rig.wire.writes) == 3
    assert len(rig.wire.frames()) == 3 * (2 * limits.ANSWERS_A_WRITE + 4)
    assert rig.wire.high == 0


async def test_over_tls_asyncio_buffers_writes() -> None:
    """The TLS of asyncio treats a limit of 0 as always exceeded."""
    assert Rig(Methods({ECHO: echo}, {}), alpn="h2").wire.high is None


async def test_requests_before_an_error_in_the_same_read_are_answered_before_the_goaway() -> None:
    rig = Rig(Methods({ECHO: echo}, {}))
    rig.protocol.data_received(many(2 * limits.ANSWERS_A_WRITE) + wire.frame(wire.DATA, 0, 0))
    *answers, last = rig.wire.frames()
    assert len(answers) == 3 * 2 * limits.ANSWERS_A_WRITE
    assert isinstance(last, GoAwayFrame)
    assert rig.wire.eof


async def test_a_method_that_returns_bytes_creates_no_task() -> None:
    rig = Rig(Methods({ECHO: echo}, {}))
    before = asyncio.all_tasks()
    rig.protocol.data_received(request(1))
    assert asyncio.all_tasks() == before


async def test_a_peer_that_does_not_read_is_not_read_from_and_then_aborted() -> None:
    rig = Rig(Methods({ECHO: echo}, {}))
    rig.protocol.pause_writing()
    assert rig.wire.reading == [False]
    loop = asyncio.get_running_loop()
    rig.protocol.tick(loop.time() + limits.SEND_TIMEOUT - 1)
    assert not rig.wire.aborted
    rig.protocol.resume_writing()
    assert rig.wire.reading == [False, True]
    rig.protocol.tick(loop.time() + limits.SEND_TIMEOUT + 1)
    assert not rig.wire.aborted
    rig.protocol.pause_writing()
    rig.protocol.tick(loop.time() + limits.SEND_TIMEOUT + 1)
    assert rig.wire.aborted


@pytest.mark.parametrize("alpn", ["http/1.1", ""])
async def test_tls_without_alpn_h2_is_aborted(alpn: str) -> None:
    assert Rig(Methods({}, {}), alpn).wire.aborted
    assert not Rig(Methods({}, {}), "h2").wire.aborted


async def test_an_error_ends_the_connection_after_the_goaway() -> None:
    rig = Rig(Methods({ECHO: echo}, {}))
    rig.protocol.data_received(request(1) + wire.frame(wire.PING, 0, 0))
    assert rig.wire.eof
    assert type(rig.wire.frames()[-1]).__name__ == "GoAwayFrame"
    rig.protocol.data_received(request(3))
    rig.protocol.tick(asyncio.get_running_loop().time() + limits.CLOSE_TIMEOUT - 1)
    assert not rig.wire.aborted
    rig.protocol.tick(asyncio.get_running_loop().time() + limits.CLOSE_TIMEOUT + 1)
    assert rig.wire.aborted


async def test_a_canceled_call_cancels_its_task_and_gets_no_answer() -> None:
    hanging = Hanging()
    rig = Rig(Methods({"/t/Hang": hanging, ECHO: echo}, {}))
    rig.protocol.data_received(call("/t/Hang"))
    await settled()
    rig.protocol.data_received(wire.rst_stream(1, CANCEL))
    await settled()
    assert (hanging.started, hanging.cancelled) == (1, 1)
    assert rig.wire.writes == []


async def test_a_request_that_is_reset_in_the_same_read_is_not_started() -> None:
    asked = 0

    def count(message: bytes, _deadline: float | None) -> bytes:
        nonlocal asked
        asked += 1
        return message

    rig = Rig(Methods({ECHO: count}, {}))
    rig.protocol.data_received(request(1) + wire.rst_stream(1, CANCEL) + request(3))
    assert asked == 1
    assert {frame.stream_id for frame in rig.wire.frames()} == {3}


async def test_a_lost_connection_cancels_running_calls() -> None:
    hanging = Hanging()
    rig = Rig(Methods({"/t/Hang": hanging}, {}))
    rig.protocol.data_received(b"".join(call("/t/Hang", number) for number in range(1, 21, 2)))
    await settled()
    rig.protocol.connection_lost(None)
    await settled()
    assert (hanging.started, hanging.cancelled) == (10, 10)
    assert rig.closed
    assert rig.wire.writes == []


async def test_a_lost_connection_closes_coroutines_that_have_not_started() -> None:
    hanging = Hanging()
    rig = Rig(Methods({"/t/Hang": hanging}, {"/t/Stream": endless}))
    rig.protocol.data_received(call("/t/Hang") + call("/t/Stream", 3))
    rig.protocol.connection_lost(None)
    await settled()
    assert hanging.started == 0


async def endless(message: bytes) -> AsyncIterator[bytes]:
    while True:
        yield message


async def test_a_passed_deadline_is_answered_deadline_exceeded() -> None:
    hanging = Hanging()
    rig = Rig(Methods({"/t/Hang": hanging}, {}))
    rig.protocol.data_received(call("/t/Hang", timeout="1m"))
    while not rig.wire.writes:
        await settled()
    await settled()
    [answer] = rig.wire.frames()
    assert b"grpc-status\x014" in answer.data  # type: ignore[attr-defined]  # -- it is DATA
    assert hanging.cancelled == hanging.started


async def test_an_immediate_answer_is_sent_after_its_deadline_too() -> None:
    rig = Rig(Methods({ECHO: echo}, {}))
    rig.protocol.data_received(call(ECHO, timeout="0n"))
    assert len(rig.wire.frames()) == 3


async def test_a_method_that_returns_neither_bytes_nor_an_awaitable_is_an_internal_error() -> None:
    def wrong(_message: bytes, _deadline: float | None) -> Any:
        return None

    async def wrong_later(_message: bytes, _deadline: float | None) -> Any:
        return "text"

    rig = Rig(Methods({"/t/Wrong": wrong, "/t/WrongLater": wrong_later}, {}))
    rig.protocol.data_received(call("/t/Wrong") + call("/t/WrongLater", 3))
    while len(found := [*rig.wire.writes]) < 2:
        await settled()
    assert all(b"grpc-status\x0213" in write for write in found)


async def test_an_awaitable_that_is_not_a_coroutine_is_awaited() -> None:
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def later(_message: bytes, _deadline: float | None) -> Awaitable[bytes]:
        return future

    rig = Rig(Methods({"/t/Later": later}, {}))
    rig.protocol.data_received(call("/t/Later"))
    assert rig.wire.writes == []
    future.set_result(b"now")
    await settled()
    assert [frame.data for frame in rig.wire.frames() if isinstance(frame, DataFrame)] == [
        prefixed(b"now")
    ]


async def test_a_server_stream_sends_only_what_the_window_and_the_peer_accept() -> None:
    produced = 0

    async def flood(_message: bytes) -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield bytes(95)

    rig = Rig(Methods({}, {"/t/Flood": flood}))
    rig.protocol.data_received(wire.settings({wire.INITIAL_WINDOW_SIZE: 1000}))
    rig.protocol.data_received(call("/t/Flood"))
    await settled()
    assert produced == 11, "ten fill the window, one waits"
    rig.protocol.data_received(wire.frame(wire.PING, 0, 0, bytes(8)))
    assert not rig.protocol._moved.is_set(), "a WINDOW_UPDATE that frees no data wakes no stream"
    rig.protocol.pause_writing()
    rig.protocol.data_received(wire.window_update(1, 300))
    await settled()
    assert produced == 11, "the peer does not read"
    rig.protocol.resume_writing()
    await settled()
    assert produced == 14
    sent = sum(len(f.data) for f in rig.wire.frames() if isinstance(f, DataFrame))
    assert sent == 1300
    rig.protocol.connection_lost(None)
    await settled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_that_ignores_cancellation_sends_nothing_more() -> None:
    cancelled = 0

    async def stubborn(_message: bytes) -> AsyncIterator[bytes]:
        nonlocal cancelled
        yield b"one"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
        yield b"two"

    rig = Rig(Methods({}, {"/t/Stubborn": stubborn}))
    rig.protocol.data_received(call("/t/Stubborn"))
    await settled()
    rig.wire.frames()
    rig.protocol.data_received(wire.rst_stream(1, CANCEL))
    await settled()
    assert cancelled == 1
    assert rig.wire.writes == []


async def test_a_stream_that_ends_after_its_cancellation_sends_nothing_more() -> None:
    async def obedient(_message: bytes) -> AsyncIterator[bytes]:
        yield b"one"
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    rig = Rig(Methods({}, {"/t/Obedient": obedient}))
    rig.protocol.data_received(call("/t/Obedient") + call("/t/Obedient", 3))
    await settled()
    rig.wire.frames()
    rig.protocol.data_received(wire.rst_stream(1, CANCEL))
    await settled()
    assert rig.wire.writes == []
    rig.protocol.end()
    await settled()
    goaway, trailers = rig.wire.frames()
    assert (goaway.stream_id, trailers.stream_id) == (0, 3)


async def test_a_draining_connection_ends_its_streams_and_closes_when_the_calls_have_ended() -> (
    None
):
    gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    rig = Rig(Methods({"/t/Wait": lambda _m, _d: gate, ECHO: echo}, {"/t/Stream": once}))
    rig.protocol.data_received(call("/t/Wait") + call("/t/Stream", 3))
    await settled()
    rig.wire.frames()
    rig.protocol.announce_end()
    [first] = rig.wire.frames()
    assert first.last_stream_id == 2**31 - 1  # type: ignore[attr-defined]  # -- it is GOAWAY
    rig.protocol.data_received(request(5))
    assert len(rig.wire.frames()) == 3, "a request that crosses the first GOAWAY is served"
    rig.protocol.end()
    rig.protocol.data_received(request(7))
    await settled()
    goaway, trailers = rig.wire.frames()
    assert goaway.last_stream_id == 5  # type: ignore[attr-defined]  # -- it is GOAWAY
    assert trailers.stream_id == 3
    assert not rig.wire.eof
    gate.set_result(b"done")
    await settled()
    assert len(rig.wire.frames()) == 3
    assert rig.wire.eof


async def once(message: bytes) -> AsyncIterator[bytes]:
    yield message
    await asyncio.Event().wait()

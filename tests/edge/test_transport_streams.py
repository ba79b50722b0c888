"""Server streams over real sockets, on every transport."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from grpc import StatusCode

from sidecar.transport.interface import Listener, RpcError
from tests.edge.transport_rig import NewServer, call, connect, methods, talking, watch


async def count(message: bytes) -> AsyncIterator[bytes]:
    """Yield as many numbers as the message requests."""
    for number in range(int(message)):
        yield b"%d" % number


async def test_a_stream_answers_in_order_and_ends(transport: NewServer) -> None:
    async with talking(transport, methods(streams={"/t/Count": count})) as channel:
        answers = [answer async for answer in watch(channel, "/t/Count", b"100")]
        assert answers == [b"%d" % number for number in range(100)]
        assert [answer async for answer in watch(channel, "/t/Count", b"0")] == []


async def test_a_streams_own_error_follows_its_messages(transport: NewServer) -> None:
    async def fail(_message: bytes) -> AsyncIterator[bytes]:
        yield b"one"
        raise RpcError(9, "not any more")

    async with talking(transport, methods(streams={"/t/Fail": fail})) as channel:
        stream = watch(channel, "/t/Fail")
        assert await stream.read() == b"one"
        assert await stream.code() is StatusCode.FAILED_PRECONDITION
        assert await stream.details() == "not any more"


async def test_an_exception_in_a_stream_is_logged_and_hidden_from_the_client(
    transport: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def fault(_message: bytes) -> AsyncIterator[bytes]:
        yield b"one"
        raise TimeoutError("what only we may know")

    with caplog.at_level(logging.ERROR):
        async with talking(transport, methods(streams={"/t/Fault": fault})) as channel:
            stream = watch(channel, "/t/Fault")
            assert await stream.read() == b"one"
            assert await stream.code() is StatusCode.INTERNAL
            assert "know" not in (await stream.details() or "")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_client_that_cancels_ends_the_stream(transport: NewServer) -> None:
    ended = asyncio.Event()

    async def endless(_message: bytes) -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with talking(transport, methods(streams={"/t/Endless": endless})) as channel:
        stream = watch(channel, "/t/Endless")
        assert await stream.read() == b"one"
        stream.cancel()
        await ended.wait()
        assert await call(channel, "/t/Echo", b"next") == b"next"


async def test_a_slow_reader_delays_only_its_own_stream(transport: NewServer) -> None:
    produced = 0

    async def flood(_message: bytes) -> AsyncIterator[bytes]:
        nonlocal produced
        while produced < 2_000:
            produced += 1
            yield bytes(64 * 1024)

    async with talking(transport, methods(streams={"/t/Flood": flood})) as channel:
        stream = watch(channel, "/t/Flood")
        assert await stream.read() == bytes(64 * 1024)
        for _ in range(20):
            assert await call(channel, "/t/Echo", b"meanwhile") == b"meanwhile"
        assert produced < 1_000
        stream.cancel()


async def test_draining_ends_streams_and_does_not_wait_for_them(transport: NewServer) -> None:
    async def endless(_message: bytes) -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    server = transport(Listener("127.0.0.1:0"), methods(streams={"/t/Endless": endless}))
    address = await server.start()
    async with connect(address) as channel:
        stream = watch(channel, "/t/Endless")
        assert await stream.read() == b"one"
        async with asyncio.timeout(10):
            await server.drain(60)
        assert await stream.code() is StatusCode.UNAVAILABLE

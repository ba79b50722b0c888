"""Unary calls over real sockets, with grpcio's client, on every transport."""

import asyncio
import logging
import time

import pytest
from grpc import StatusCode, aio
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, PingAckReceived

from sidecar.transport.interface import MAX_MESSAGE_BYTES, RpcError
from tests.edge.transport_rig import (
    NewServer,
    begin,
    call,
    failure,
    methods,
    serving,
    talking,
)


@pytest.mark.parametrize("message", [b"", bytes(range(256)), b"\xff" * (1 << 20)])
async def test_bytes_arrive_and_return_unchanged(transport: NewServer, message: bytes) -> None:
    async with talking(transport, methods()) as channel:
        assert await call(channel, "/t/Echo", message) == message


async def test_a_method_may_be_awaited(transport: NewServer) -> None:
    gate = asyncio.Event()

    async def wait(message: bytes, _deadline: float | None) -> bytes:
        await gate.wait()
        return b"waited for " + message

    async with talking(transport, methods({"/t/Wait": wait})) as channel:
        waiting = asyncio.ensure_future(call(channel, "/t/Wait", b"you"))
        assert await call(channel, "/t/Echo", b"not blocked") == b"not blocked"
        gate.set()
        assert await waiting == b"waited for you"


async def test_a_message_of_16_mib_is_a_message_like_any_other(transport: NewServer) -> None:
    message = bytes(MAX_MESSAGE_BYTES)
    async with talking(transport, methods()) as channel:
        assert await call(channel, "/t/Echo", message, within=None) == message


async def test_a_larger_message_exhausts_resources_and_the_next_call_is_served(
    transport: NewServer,
) -> None:
    async with talking(transport, methods()) as channel:
        code, _ = await failure(channel, "/t/Echo", bytes(MAX_MESSAGE_BYTES + 1024 * 1024))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert await call(channel, "/t/Echo", b"next") == b"next"


async def test_an_unknown_method_is_unimplemented(transport: NewServer) -> None:
    async with talking(transport, methods()) as channel:
        for name in ("/t/Nothing", "/nothing/Echo"):
            assert (await failure(channel, name))[0] is StatusCode.UNIMPLEMENTED


async def test_a_methods_own_error_reaches_the_client(transport: NewServer) -> None:
    def immediate(_message: bytes, _deadline: float | None) -> bytes:
        raise RpcError(5, "no such thing: größer, 没有")

    async def awaited(_message: bytes, _deadline: float | None) -> bytes:
        raise RpcError(9, "not now")

    served = methods({"/t/Immediate": immediate, "/t/Awaited": awaited})
    async with talking(transport, served) as channel:
        assert await failure(channel, "/t/Immediate") == (
            StatusCode.NOT_FOUND,
            "no such thing: größer, 没有",
        )
        assert await failure(channel, "/t/Awaited") == (StatusCode.FAILED_PRECONDITION, "not now")


async def test_an_exception_is_logged_and_hidden_from_the_client(
    transport: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    def immediate(_message: bytes, _deadline: float | None) -> bytes:
        raise ValueError("what only we may know")

    async def awaited(_message: bytes, _deadline: float | None) -> bytes:
        raise ValueError("what only we may know")

    served = methods({"/t/Immediate": immediate, "/t/Awaited": awaited})
    with caplog.at_level(logging.ERROR):
        async with talking(transport, served) as channel:
            for name in ("/t/Immediate", "/t/Awaited"):
                code, details = await failure(channel, name)
                assert code is StatusCode.INTERNAL
                assert "know" not in details
                assert "Error" not in details
            assert await call(channel, "/t/Echo", b"still here") == b"still here"
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_deadline_is_passed_as_monotonic_time(transport: NewServer) -> None:
    seen: list[float | None] = []

    def look(message: bytes, deadline: float | None) -> bytes:
        seen.append(deadline)
        return message

    async with talking(transport, methods({"/t/Look": look})) as channel:
        before = time.monotonic()
        await call(channel, "/t/Look", within=30)
        after = time.monotonic()
        await call(channel, "/t/Look", within=None)
    named, unnamed = seen
    assert named is not None
    assert before + 29 < named <= after + 30.1
    assert unnamed is None


async def test_a_canceled_call_ends_only_its_own_method(transport: NewServer) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang(_message: bytes, _deadline: float | None) -> bytes:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    async with talking(transport, methods({"/t/Hang": hang})) as channel:
        hanging = begin(channel, "/t/Hang", within=None)
        await started.wait()
        hanging.cancel()
        await ended.wait()
        assert await call(channel, "/t/Echo", b"next") == b"next"


async def test_a_deadline_that_passes_ends_the_method(transport: NewServer) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang(_message: bytes, _deadline: float | None) -> bytes:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    async with talking(transport, methods({"/t/Hang": hang})) as channel:
        while not started.is_set():  # on a busy machine a call's time may be over before it arrives
            code, _ = await failure(channel, "/t/Hang", within=0.1)
            assert code is StatusCode.DEADLINE_EXCEEDED
        await ended.wait()


async def test_each_of_many_calls_gets_its_own_answer(transport: NewServer) -> None:
    arrived: list[asyncio.Event] = []

    async def slow(message: bytes, _deadline: float | None) -> bytes:
        arrived.append(asyncio.Event())
        if len(arrived) == 50:  # earlier calls are answered after this one, in reverse order
            for event in reversed(arrived):
                event.set()
        if len(arrived) < 50:
            await arrived[-1].wait()
        return message

    async with talking(transport, methods({"/t/Slow": slow})) as channel:
        messages = [str(number).encode() * 50 for number in range(400)]
        answers = await asyncio.gather(
            *(
                call(channel, ("/t/Slow", "/t/Echo")[number % 2], message)
                for number, message in enumerate(messages)
            )
        )
    assert answers == messages


async def test_metadata_of_a_usual_size_is_accepted(transport: NewServer) -> None:
    metadata = aio.Metadata(("x-request-id", "a" * 128), ("traceparent", "00-" + "b" * 52))
    async with talking(transport, methods()) as channel:
        echo = channel.unary_unary("/t/Echo", bytes, bytes)
        answer = await echo(b"hello", metadata=metadata)
    assert answer == b"hello"


async def test_frequent_pings_do_not_end_the_connection(transport: NewServer) -> None:
    async with serving(transport, methods()) as address:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        peer = H2Connection()
        peer.initiate_connection()
        for number in range(50):  # Envoy's keepalive pings a connection without calls
            peer.ping(number.to_bytes(8, "big"))
        writer.write(peer.data_to_send())
        answered = 0
        while answered < 50:
            events = peer.receive_data(await reader.read(65536))
            assert not any(isinstance(event, ConnectionTerminated) for event in events)
            answered += sum(isinstance(event, PingAckReceived) for event in events)
            writer.write(peer.data_to_send())
        writer.close()

"""Draining: running calls finish, new ones are refused."""

import asyncio

import pytest
from grpc import StatusCode, aio

from sidecar.transport.interface import Listener, ListenError, Unary
from tests.edge.transport_rig import NewServer, begin, call, connect, failure, methods


def gated(gate: asyncio.Event, started: asyncio.Event) -> Unary:
    """Return a method that sets ``started`` and answers when the gate opens."""

    async def wait(message: bytes, _deadline: float | None) -> bytes:
        started.set()
        await gate.wait()
        return message

    return wait


async def test_a_running_call_is_answered_before_the_server_ends(transport: NewServer) -> None:
    gate, started = asyncio.Event(), asyncio.Event()
    server = transport(Listener("127.0.0.1:0"), methods({"/t/Wait": gated(gate, started)}))
    async with connect(await server.start()) as channel:
        waiting = begin(channel, "/t/Wait", b"late")
        await started.wait()
        draining = asyncio.ensure_future(server.drain(30))
        gate.set()
        assert await waiting == b"late"
        await draining


async def test_an_endless_call_is_aborted_after_the_grace(transport: NewServer) -> None:
    started = asyncio.Event()
    method = gated(asyncio.Event(), started)
    server = transport(Listener("127.0.0.1:0"), methods({"/t/Wait": method}))
    async with connect(await server.start()) as channel:
        waiting = asyncio.ensure_future(failure(channel, "/t/Wait"))
        await started.wait()
        await server.drain(0.3)
        assert (await waiting)[0] in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}


async def test_after_draining_the_address_is_closed(transport: NewServer) -> None:
    server = transport(Listener("127.0.0.1:0"), methods())
    address = await server.start()
    await server.drain(1)
    host, port = address.split(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_draining_may_be_repeated_and_needs_no_start(transport: NewServer) -> None:
    await transport(Listener("127.0.0.1:0"), methods()).drain(1)
    server = transport(Listener("127.0.0.1:0"), methods())
    await server.start()
    await server.drain(1)
    await server.drain(1)


async def test_draining_under_load_loses_no_accepted_call(transport: NewServer) -> None:
    taken = answered = 0

    async def work(message: bytes, _deadline: float | None) -> bytes:
        nonlocal taken
        taken += 1
        await asyncio.get_running_loop().run_in_executor(None, bytes)
        return message

    server = transport(Listener("127.0.0.1:0"), methods({"/t/Work": work}))
    async with connect(await server.start()) as channel:
        busy = asyncio.Event()
        refusals: set[StatusCode] = set()

        async def client() -> None:
            nonlocal answered
            while True:
                try:
                    assert await call(channel, "/t/Work", b"x") == b"x"
                except aio.AioRpcError as error:
                    refusals.add(error.code())
                    return
                answered += 1
                if answered == 200:
                    busy.set()

        clients = [asyncio.ensure_future(client()) for _ in range(16)]
        await busy.wait()
        await server.drain(30)
        await asyncio.gather(*clients)
    assert answered == taken
    assert refusals <= {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}


async def test_a_client_reconnects_to_a_restarted_server(transport: NewServer) -> None:
    first = transport(Listener("127.0.0.1:0"), methods())
    address = await first.start()
    async with connect(address) as channel:
        assert await call(channel, "/t/Echo", b"one") == b"one"
        await first.drain(5)
        second = transport(Listener(address), methods())
        assert await second.start() == address
        echo = channel.unary_unary("/t/Echo", bytes, bytes)
        assert await echo(b"two", wait_for_ready=True, timeout=20) == b"two"
        await second.drain(5)


async def test_a_server_that_could_not_start_can_be_started_later(transport: NewServer) -> None:
    first = transport(Listener("127.0.0.1:0"), methods())
    address = await first.start()
    second = transport(Listener(address), methods())
    with pytest.raises(ListenError):
        await second.start()
    await first.drain(1)
    assert await second.start() == address
    await second.drain(1)

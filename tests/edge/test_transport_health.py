"""grpc.health.v1 on every transport, with grpcio's client."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Generator, Mapping
from typing import Any

import pytest
from grpc import StatusCode, aio
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListResponse,
)

from sidecar.transport.health import health_methods
from sidecar.transport.interface import Listener
from tests.edge.transport_rig import NewServer, call, connect, failure, serving, talking, watch

CHECK, WATCH, LIST = (f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch", "List"))
SERVING, NOT_SERVING, SERVICE_UNKNOWN = (
    HealthCheckResponse.SERVING,
    HealthCheckResponse.NOT_SERVING,
    HealthCheckResponse.SERVICE_UNKNOWN,
)


class _Change:
    """Sets an event when it is awaited; need not be awaited."""

    def __init__(self, change: asyncio.Event, waited_for: asyncio.Event) -> None:
        self._change, self._waited_for = change, waited_for

    def __await__(self) -> Generator[Any, None, None]:
        self._waited_for.set()
        yield from self._change.wait().__await__()


class Source:
    """States that a test sets."""

    def __init__(self, **states: bool | None) -> None:
        self.states: dict[str, bool | None] = dict(states)
        self._change = asyncio.Event()
        self.waited_for = asyncio.Event()

    def statuses(self) -> Mapping[str, bool | None]:
        return self.states

    def changed(self) -> Awaitable[None]:
        return _Change(self._change, self.waited_for)

    def set(self, service: str, *, status: bool | None) -> None:
        self.states[service] = status
        self._change.set()
        self._change = asyncio.Event()


def request(service: str) -> bytes:
    """Return a request for one service."""
    message: bytes = HealthCheckRequest(service=service).SerializeToString()
    return message


def status(answer: object) -> int:
    """Parse an answer."""
    assert isinstance(answer, bytes)
    number: int = HealthCheckResponse.FromString(answer).status
    return number


async def test_check_returns_the_state_of_the_source(transport: NewServer) -> None:
    source = Source(up=True, down=False)
    source.set("", status=True)
    async with talking(transport, health_methods(source)) as channel:
        assert status(await call(channel, CHECK, request("up"))) == SERVING
        assert status(await call(channel, CHECK, request("down"))) == NOT_SERVING
        assert status(await call(channel, CHECK)) == SERVING
        source.set("up", status=False)
        assert status(await call(channel, CHECK, request("up"))) == NOT_SERVING


@pytest.mark.parametrize("service", ["nobody", "unknown", "x" * 100_000, "健康"])
async def test_check_of_an_unknown_service_is_not_found(transport: NewServer, service: str) -> None:
    async with talking(transport, health_methods(Source(unknown=None))) as channel:
        assert (await failure(channel, CHECK, request(service)))[0] is StatusCode.NOT_FOUND


async def test_a_malformed_request_is_an_invalid_argument(transport: NewServer) -> None:
    async with talking(transport, health_methods(Source())) as channel:
        for message in (b"\xff", b"\x0a\xff\xff", b"\x0a\x01\xff"):
            code, _ = await failure(channel, CHECK, message)
            assert code is StatusCode.INVALID_ARGUMENT
            assert await watch(channel, WATCH, message).code() is StatusCode.INVALID_ARGUMENT


async def test_list_names_every_service_that_is_known(transport: NewServer) -> None:
    source = Source(up=True, down=False, unknown=None)
    async with talking(transport, health_methods(source)) as channel:
        listed = HealthListResponse.FromString(await call(channel, LIST))
    assert {name: answer.status for name, answer in listed.statuses.items()} == {
        "up": SERVING,
        "down": NOT_SERVING,
    }


async def test_watch_answers_immediately_and_then_on_each_change(transport: NewServer) -> None:
    source = Source(up=True)
    async with talking(transport, health_methods(source)) as channel:
        stream = watch(channel, WATCH, request("up"))
        assert status(await stream.read()) == SERVING
        source.set("up", status=False)
        assert status(await stream.read()) == NOT_SERVING
        source.set("up", status=None)
        assert status(await stream.read()) == SERVICE_UNKNOWN
        source.set("up", status=True)
        assert status(await stream.read()) == SERVING
        stream.cancel()


async def test_watch_of_an_unknown_service_waits_until_it_is_known(transport: NewServer) -> None:
    source = Source()
    async with talking(transport, health_methods(source)) as channel:
        stream = watch(channel, WATCH, request("later"))
        assert status(await stream.read()) == SERVICE_UNKNOWN
        source.set("later", status=True)
        assert status(await stream.read()) == SERVING
        stream.cancel()


async def test_watch_ignores_changes_of_other_services(transport: NewServer) -> None:
    source = Source(up=True, other=True)
    async with talking(transport, health_methods(source)) as channel:
        stream = watch(channel, WATCH, request("up"))
        assert status(await stream.read()) == SERVING
        await source.waited_for.wait()
        source.waited_for.clear()
        source.set("other", status=False)
        await source.waited_for.wait()  # the watcher has seen the change
        source.set("up", status=False)
        assert status(await stream.read()) == NOT_SERVING
        stream.cancel()


async def test_a_change_before_the_first_wait_is_not_lost() -> None:
    source = Source(up=True)
    stream = health_methods(source).streams[WATCH](request("up"))
    assert status(await anext(stream)) == SERVING
    source.set("up", status=False)
    assert status(await anext(stream)) == NOT_SERVING


async def test_every_watcher_receives_a_change(transport: NewServer) -> None:
    source = Source(up=True)
    async with talking(transport, health_methods(source)) as channel:
        streams = [watch(channel, WATCH, request("up")) for _ in range(50)]
        assert {status(await stream.read()) for stream in streams} == {SERVING}
        source.set("up", status=False)
        assert {status(await stream.read()) for stream in streams} == {NOT_SERVING}
        for stream in streams:
            stream.cancel()


async def test_watch_ends_when_the_server_drains(transport: NewServer) -> None:
    source = Source(up=True)
    server = transport(Listener("127.0.0.1:0"), health_methods(source))
    async with connect(await server.start()) as channel:
        stream = watch(channel, WATCH, request("up"))
        assert status(await stream.read()) == SERVING
        source.set("up", status=False)
        assert status(await stream.read()) == NOT_SERVING
        await server.drain(60)
        with pytest.raises(aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is StatusCode.UNAVAILABLE


PROBES = Listener("127.0.0.1:0", probes=True)


async def test_a_listener_for_probes_answers_them(transport: NewServer) -> None:
    source = Source(up=True)
    async with serving(transport, health_methods(source), PROBES) as address:
        for _ in range(3):  # the kubelet opens a connection per probe
            async with connect(address) as channel:
                assert status(await call(channel, CHECK, request("up"))) == SERVING
        async with connect(address) as channel:
            stream = watch(channel, WATCH, request("up"))
            assert status(await stream.read()) == SERVING
            source.set("up", status=False)
            assert status(await stream.read()) == NOT_SERVING
            stream.cancel()


async def test_a_listener_for_probes_limits_headers_and_messages(transport: NewServer) -> None:
    source = Source(up=True)
    async with serving(transport, health_methods(source), PROBES) as address:
        async with connect(address) as channel:
            check = channel.unary_unary(CHECK, bytes, bytes)
            usual, large = (aio.Metadata(("x-a", "a" * size)) for size in (1000, 5000))
            assert status(await check(request("up"), metadata=usual)) == SERVING
            with pytest.raises(aio.AioRpcError):
                await check(request("up"), metadata=large, timeout=10)
        async with connect(address) as channel:
            code, _ = await failure(channel, CHECK, request("u" * 20_000))
            assert code is StatusCode.RESOURCE_EXHAUSTED
            assert status(await call(channel, CHECK, request("up"))) == SERVING


def test_the_health_service_does_not_import_grpc() -> None:
    code = "import sys, sidecar.transport.health; sys.exit('grpc' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)

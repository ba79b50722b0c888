"""The server on real sockets, with peers that behave unlike grpcio's client."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame

from sidecar.transport.h2 import Server, limits, server, wire
from sidecar.transport.interface import Listener, Methods, Tls
from tests.edge.certificates import Authority
from tests.edge.h2.peer import (
    ACKNOWLEDGED,
    ECHO,
    HEADERS,
    block,
    data,
    frames,
    headers,
    prefixed,
    request,
)
from tests.support.waiting import eventually

METHODS = Methods({ECHO: lambda message, _deadline: message}, {})
LARGE = Methods({ECHO: lambda _message, _deadline: bytes(16_000)}, {})
ONE_WRITE = limits.ANSWERS_A_WRITE * 16_100


class Raw:
    """A peer that sends raw frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._unread = b""

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def frame(self) -> Frame:
        """Return the next frame."""
        async with asyncio.timeout(10):
            header = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(header[:3]))
        return frames(header + payload)[0]

    async def until(self, kind: type[Frame]) -> Frame:
        """Return the next frame of a kind; skip others."""
        while not isinstance(found := await self.frame(), kind):
            pass
        return found

    async def rest(self) -> bytes:
        """Return all output until the server closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()


@contextlib.asynccontextmanager
async def peer(address: str, greeting: bytes = ACKNOWLEDGED) -> AsyncIterator[Raw]:
    """Connect within the block."""
    host, port = address.rsplit(":", 1)
    raw = Raw(*await asyncio.open_connection(host, int(port)))
    raw.send(greeting)
    try:
        yield raw
    finally:
        raw.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(
    methods: Methods = METHODS, *, probes: bool = False
) -> AsyncIterator[tuple[Server, str]]:
    """Serve within the block."""
    one = Server(Listener("127.0.0.1:0", probes=probes), methods)
    address = await one.start()
    try:
        yield one, address
    finally:
        await one.drain(0)


async def answered(raw: Raw, number: int) -> None:
    """Wait for the end of an answer."""
    while True:
        frame = await raw.frame()
        if frame.stream_id == number and "END_STREAM" in frame.flags:
            return


async def test_a_server_drains_with_two_goaways_and_serves_requests_that_cross_the_first() -> None:
    async with serving() as (one, address), peer(address) as raw:
        raw.send(request(1))
        await answered(raw, 1)
        draining = asyncio.ensure_future(one.drain(10))
        first = await raw.until(GoAwayFrame)
        assert isinstance(first, GoAwayFrame)
        assert (first.last_stream_id, first.error_code) == (2**31 - 1, 0)
        raw.send(request(3))
        await answered(raw, 3)
        second = await raw.until(GoAwayFrame)
        assert isinstance(second, GoAwayFrame)
        assert (second.last_stream_id, second.error_code) == (3, 0)
        assert await raw.rest() == b""
        raw.writer.close()
        await draining


async def test_a_connection_that_the_peer_keeps_open_is_aborted_after_the_grace() -> None:
    async with serving() as (one, address), peer(address) as raw:
        raw.send(headers(1))
        await raw.frame()
        async with asyncio.timeout(10):
            await one.drain(0.5)
        with contextlib.suppress(ConnectionResetError):
            await raw.rest()


async def test_reading_from_a_peer_that_never_reads_pauses_and_others_are_served() -> None:
    many = wire.settings({wire.INITIAL_WINDOW_SIZE: 2**31 - 1}) + wire.window_update(0, 2**30)
    loop = asyncio.get_running_loop()
    async with serving(LARGE) as (one, address):
        host, port = address.split(":")
        with socket.socket() as deaf:
            deaf.setblocking(False)
            await loop.sock_connect(deaf, (host, int(port)))
            await loop.sock_sendall(deaf, ACKNOWLEDGED + many)
            octets = b"".join(request(number) for number in range(1, 100_001, 2))
            sending = asyncio.ensure_future(loop.sock_sendall(deaf, octets))
            await eventually(lambda: stuck(one), "the server notices")
            [connection] = one._connections
            assert connection._transport.get_write_buffer_size() < 2 * ONE_WRITE
            async with peer(address) as other:
                other.send(request(1))
                await answered(other, 1)
            sending.cancel()


def stuck(one: Server) -> bool:
    """Return whether a peer of the server does not read."""
    return any(connection._paused for connection in one._connections)


def allow(monkeypatch: pytest.MonkeyPatch, **allowed: Any) -> None:
    """Change the limits of new servers."""
    monkeypatch.setattr(server, "CHECKS", limits.CHECKS._replace(**allowed))
    monkeypatch.setattr(server, "PROBES", limits.PROBES._replace(**allowed))


@pytest.mark.usefixtures("both_loops")
async def test_a_new_connection_over_the_limit_closes_the_longest_idle_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow(monkeypatch, connections=2)
    async with serving() as (_, address), peer(address) as first, peer(address) as second:
        for raw in (second, first):
            raw.send(request(1))
            await answered(raw, 1)
        async with peer(address) as third:
            third.send(request(1))
            await answered(third, 1)
            with contextlib.suppress(ConnectionResetError):
                await second.rest()
            first.send(request(3))
            await answered(first, 3)


async def test_a_connection_with_a_running_call_is_closed_after_younger_idle_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow(monkeypatch, connections=2)
    gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    waiting = Methods({ECHO: lambda _message, _deadline: gate}, {})
    async with serving(waiting) as (one, address), peer(address) as busy:
        busy.send(request(1))
        await eventually(lambda: any(c._calls for c in one._connections), "the call runs")
        for _ in range(5):
            async with peer(address) as other:
                await other.frame()
        gate.set_result(b"")
        await answered(busy, 1)


async def test_the_oldest_watch_is_closed_for_a_probe_when_health_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def watch(message: bytes) -> AsyncIterator[bytes]:
        yield message
        await asyncio.Event().wait()

    allow(monkeypatch, connections=3)
    methods = Methods({"/t/Check": METHODS.unary[ECHO]}, {ECHO: watch})
    async with serving(methods, probes=True) as (_, address), contextlib.AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(peer(address)) for _ in range(3)]
        for each in watchers:
            each.send(request(1))
            assert isinstance(await each.until(DataFrame), DataFrame)
        async with peer(address) as probe:
            check = block(headers=[(n, "/t/Check" if n == ":path" else v) for n, v in HEADERS])
            probe.send(headers(1, payload=check) + data(1, prefixed(b"")))
            await answered(probe, 1)
        with contextlib.suppress(ConnectionResetError):
            await watchers[0].rest()
        for each in watchers[1:]:
            each.send(wire.frame(wire.PING, 0, 0, bytes(8)))
            assert isinstance(await each.until(PingFrame), PingFrame)


async def test_health_closes_idle_connections_and_keeps_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def watch(message: bytes) -> AsyncIterator[bytes]:
        yield message
        await asyncio.Event().wait()

    allow(monkeypatch, idle=0.0)
    monkeypatch.setattr(server, "TICK", 0.01)
    async with (
        serving(Methods({}, {ECHO: watch}), probes=True) as (_, address),
        peer(address) as idle,
        peer(address, ACKNOWLEDGED + request(1)) as watcher,
    ):
        last = await idle.until(GoAwayFrame)
        assert isinstance(last, GoAwayFrame)
        assert last.error_code == wire.ErrorCode.NO_ERROR
        await watcher.until(DataFrame)
        watcher.send(wire.frame(wire.PING, 0, 0, bytes(8)))
        await watcher.until(PingFrame)


async def test_a_flood_on_one_connection_does_not_affect_others() -> None:
    async with serving() as (_, address), peer(address) as bad, peer(address) as good:
        bad.send(wire.frame(wire.PING, 0, 0, bytes(8)) * (limits.MAX_CONTROL_FRAMES + 100))
        last = await bad.until(GoAwayFrame)
        assert isinstance(last, GoAwayFrame)
        assert last.error_code == wire.ErrorCode.ENHANCE_YOUR_CALM
        assert await bad.rest() == b""
        good.send(request(1))
        await answered(good, 1)


async def test_the_timer_closes_a_silent_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "TICK", 0.01)
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT", 0.0)
    async with serving() as (_, address), peer(address, b"") as silent:
        last = await silent.until(GoAwayFrame)
        assert isinstance(last, GoAwayFrame)
        assert last.error_code == wire.ErrorCode.SETTINGS_TIMEOUT
        assert await silent.rest() == b""


async def test_an_http1_client_gets_a_goaway() -> None:
    async with serving() as (_, address), peer(address, b"GET / HTTP/1.1\r\n\r\n") as raw:
        last = await raw.until(GoAwayFrame)
        assert isinstance(last, GoAwayFrame)
        assert last.error_code == wire.ErrorCode.PROTOCOL_ERROR
        assert await raw.rest() == b""


OURS = Authority("ours")


@contextlib.asynccontextmanager
async def secured(tls: Tls | None = None) -> AsyncIterator[tuple[Server, int]]:
    """Serve with TLS within the block; yield the port."""
    one = Server(Listener("127.0.0.1:0", tls or Tls(*OURS.issue("server"))), METHODS)
    address = await one.start()
    try:
        yield one, int(address.rpartition(":")[2])
    finally:
        await one.drain(0)


@contextlib.asynccontextmanager
async def tls_peer(port: int) -> AsyncIterator[Raw]:
    """Connect with TLS within the block; the first data is sent with the end of the handshake."""
    context = ssl.create_default_context(cadata=OURS.pem.decode())
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    raw = Raw(*await asyncio.open_connection("127.0.0.1", port, ssl=context))
    raw.send(ACKNOWLEDGED)
    try:
        yield raw
    finally:
        raw.writer.transport.abort()


@pytest.mark.usefixtures("both_loops")
async def test_unfinished_handshakes_are_few_and_block_no_client() -> None:
    async with secured() as (one, port), contextlib.AsyncExitStack() as stack:
        silent = []
        for _ in range(3 * limits.MAX_HANDSHAKES):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            silent.append((reader, writer))
        async with tls_peer(port) as raw:
            raw.send(request(1))
            await answered(raw, 1)
        assert one._handshakes is not None
        assert len(one._handshakes) <= limits.MAX_HANDSHAKES
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                assert await silent[0][0].read() == b""


async def some(reader: asyncio.StreamReader) -> bytes:
    """Read the next bytes; fail at the end of input."""
    async with asyncio.timeout(10):
        octets = await reader.read(65_536)
    assert octets
    return octets


@pytest.mark.usefixtures("both_loops")
async def test_data_sent_with_the_end_of_a_handshake_is_not_lost() -> None:
    """A client may send its first request immediately."""
    async with secured() as (_, port):
        for _ in range(20):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            context = ssl.create_default_context(cadata=OURS.pem.decode())
            context.check_hostname = False
            context.set_alpn_protocols(["h2"])
            tls = context.wrap_bio(incoming, outgoing)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await some(reader))
            tls.write(ACKNOWLEDGED + request(1, b"first"))
            writer.write(outgoing.read())  # the last handshake message and the request
            seen = b""
            while b"first" not in seen:
                incoming.write(await some(reader))
                with contextlib.suppress(ssl.SSLWantReadError):
                    while octets := tls.read(65_536):
                        seen += octets
            writer.close()


@pytest.mark.usefixtures("both_loops")
@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_handshake_that_fails_or_is_abandoned_leaves_nothing_behind(begun: bytes) -> None:
    async with secured() as (one, port):
        for end in ("write_eof", "abort"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            getattr(writer.transport, end)()
            await eventually(lambda: not one._handshakes, "the handshake is over")
            writer.transport.abort()
        async with tls_peer(port) as raw:
            raw.send(request(1))
            await answered(raw, 1)
        assert not one._handshakes


@pytest.mark.usefixtures("both_loops")
async def test_a_connection_without_a_descriptor_for_its_handshake_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise, clients that take all descriptors would keep these for as long as they like."""

    def none_left(_descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async with secured() as (_, port):
        with monkeypatch.context() as full:
            full.setattr("sidecar.transport.h2.handshakes.os.dup", none_left)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(10):
                    assert await reader.read() == b""
            writer.close()
        async with tls_peer(port) as raw:
            raw.send(request(1))
            await answered(raw, 1)


async def test_draining_does_not_wait_for_handshakes() -> None:
    async with secured() as (one, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: bool(one._handshakes), "the handshake has begun")
        async with asyncio.timeout(10):
            await one.drain(60)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()

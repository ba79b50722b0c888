"""``listen.tls.client_names``: which certificates of the client CA are served."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from grpc import ChannelCredentials, StatusCode, aio, ssl_channel_credentials

from sidecar.transport.client_names import ClientNames
from sidecar.transport.interface import Listener, Tls
from tests.edge.certificates import Authority
from tests.edge.transport_rig import (
    NewServer,
    call,
    connect,
    failure,
    methods,
    serving,
    watch,
)

OURS, OTHERS = Authority("ours"), Authority("others")
PATTERNS = ("envoy.example", "*.mesh.example", "spiffe://td/envoy", "spiffe://td/ns/edge/*")
SERVED: tuple[tuple[str, ...], ...] = (
    ("envoy.example",),
    ("ENVOY.Example",),
    ("pod-7.mesh.example",),
    ("spiffe://td/envoy",),
    ("spiffe://td/ns/edge/sa/envoy",),
    ("stranger.example", "envoy.example"),
)
REFUSED: tuple[tuple[str, ...], ...] = (
    (),
    ("envoy.example.org",),
    ("a.envoy.example",),
    ("mesh.example",),
    ("a.b.mesh.example",),
    ("*.mesh.example",),
    ("*.example",),
    ("spiffe://td/envoy/x",),
    ("spiffe://td/Envoy",),
    ("spiffe://td/ns/edge/",),
    ("spiffe://td/ns/edge",),
    ("spiffe://td/ns/edgy/x",),
    ("spiffe://other/ns/edge/x",),
)


def listener(tls_names: tuple[str, ...] = PATTERNS) -> Listener:
    return Listener("127.0.0.1:0", Tls(*OURS.issue("server"), OURS.pem, tls_names))


def client(*names: str, authority: Authority = OURS) -> ChannelCredentials:
    """Return a client whose common name matches, which must not count."""
    certificate, key = authority.issue("envoy.example", names=names)
    return ssl_channel_credentials(OURS.pem, key, certificate)


async def is_refused(channel: aio.Channel) -> bool:
    code, _ = await failure(channel, "/t/Echo", b"hello")
    return code in {StatusCode.UNAVAILABLE, StatusCode.PERMISSION_DENIED}


async def test_only_clients_with_one_of_the_names_are_served(
    transport: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    """DNS and URI names count; common names and IP addresses do not. Each refusal is logged."""
    async with serving(transport, methods(), listener()) as address:
        for names in SERVED:
            async with connect(address, client(*names)) as channel:
                assert await call(channel, "/t/Echo", b"hello") == b"hello", names
        assert not caplog.records
        for names in REFUSED:
            async with connect(address, client(*names)) as channel:
                assert await is_refused(channel), names
            assert "client_names" in caplog.text
            assert all(name in caplog.text for name in names)
            assert all(record.levelno == logging.WARNING for record in caplog.records)
            caplog.clear()


async def test_a_matching_name_from_another_ca_is_refused(transport: NewServer) -> None:
    async with (
        serving(transport, methods(), listener()) as address,
        connect(address, client("envoy.example", authority=OTHERS)) as channel,
    ):
        assert await is_refused(channel)


async def test_a_stream_is_refused_like_a_call(transport: NewServer) -> None:
    async def forever(_: bytes) -> AsyncIterator[bytes]:
        yield b"told"
        await asyncio.Event().wait()

    served = methods(streams={"/t/Watch": forever})
    async with serving(transport, served, listener()) as address:
        async with connect(address, client("envoy.example")) as channel:
            assert await watch(channel, "/t/Watch").read() == b"told"
        async with connect(address, client("stranger.example")) as channel:
            with pytest.raises(aio.AioRpcError):
                await watch(channel, "/t/Watch").read()


async def test_without_names_every_certificate_of_the_ca_is_served(
    transport: NewServer,
) -> None:
    async with (
        serving(transport, methods(), listener(())) as address,
        connect(address, client()) as channel,
    ):
        assert await call(channel, "/t/Echo", b"hello") == b"hello"


async def test_names_are_renewed_with_the_certificates(transport: NewServer) -> None:
    server = transport(listener(("a.example",)), methods())
    address = await server.start()
    await server.renew(Tls(*OURS.issue("server"), OURS.pem, ("b.example",)))
    async with connect(address, client("a.example")) as channel:
        assert await is_refused(channel)
    async with connect(address, client("b.example")) as channel:
        assert await call(channel, "/t/Echo", b"hello") == b"hello"
    await server.drain(0)


def test_names_are_checked_on_the_event_loop_that_serve_uses() -> None:
    """Uvloop returns a peer's certificate in its own form."""
    uvloop = pytest.importorskip("uvloop")
    from sidecar.transport.h2 import Server

    async def ask() -> None:
        async with serving(Server, methods(), listener()) as address:
            async with connect(address, client("envoy.example")) as channel:
                assert await call(channel, "/t/Echo", b"hello") == b"hello"
            async with connect(address, client("stranger.example")) as channel:
                assert await is_refused(channel)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


@pytest.mark.parametrize(
    ("dns", "uris"),
    [
        (["envoy.example\0.evil.example"], []),
        (["envoy.example\0"], []),
        (["envoy.example "], []),
        (["\u212anvoy.example"], []),
        ([".mesh.example"], []),
        (["*.mesh.example"], []),
        (["spiffe://td/envoy"], []),
        ([], ["envoy.example"]),
        ([], ["SPIFFE://td/envoy"]),
        ([], ["spiffe://td/envoy\0"]),
        ([], ["spiffe://td/ns/edge/../../envoy"]),
        ([], ["spiffe://td/ns/edge/%2e%2e/x"]),
        ([], ["spiffe://td/ns/edge//x"]),
    ],
)
def test_malformed_names_do_not_match(dns: list[str], uris: list[str]) -> None:
    """Other bytes, spellings or kinds of names do not match, nor a path with `..`."""
    assert not ClientNames(PATTERNS).admit(dns, uris)


def test_a_trailing_dot_of_a_dns_name_is_ignored() -> None:
    assert ClientNames(("envoy.example.",)).admit(["envoy.example"], [])
    assert ClientNames(("envoy.example",)).admit(["envoy.example."], [])

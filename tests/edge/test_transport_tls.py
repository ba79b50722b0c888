"""TLS on every transport, with and without client certificates."""

import asyncio
import ssl

import pytest
from grpc import StatusCode, ssl_channel_credentials

from sidecar.transport.interface import Listener, ListenError, Tls
from tests.edge.certificates import Authority
from tests.edge.transport_rig import NewServer, call, connect, failure, methods, serving

OURS, OTHERS = Authority("ours"), Authority("others")
SERVER = OURS.issue("server")

UNFIT = {
    "no PEM": Tls(b"no certificate", b"no key"),
    "another key": Tls(SERVER[0], OTHERS.issue("server")[1]),
    "no authority": Tls(*SERVER, client_ca=b"no authority"),
}


def listener(client_ca: bytes | None = None) -> Listener:
    """Return a TLS listener on any port."""
    certificate, key = SERVER
    return Listener("127.0.0.1:0", Tls(certificate, key, client_ca))


async def test_a_client_that_trusts_the_ca_is_served(transport: NewServer) -> None:
    async with serving(transport, methods(), listener()) as address:
        trusting = ssl_channel_credentials(OURS.pem)
        async with connect(address, trusting) as channel:
            assert await call(channel, "/t/Echo", b"hello") == b"hello"


async def test_a_client_without_tls_is_not_served(transport: NewServer) -> None:
    async with serving(transport, methods(), listener()) as address, connect(address) as channel:
        assert (await failure(channel, "/t/Echo"))[0] is StatusCode.UNAVAILABLE


async def test_with_a_client_ca_only_its_certificates_are_served(transport: NewServer) -> None:
    certificate, key = OURS.issue("envoy")
    foreign, foreign_key = OTHERS.issue("envoy")
    known = ssl_channel_credentials(OURS.pem, key, certificate)
    refused = (
        ssl_channel_credentials(OURS.pem),
        ssl_channel_credentials(OURS.pem, foreign_key, foreign),
    )
    async with serving(transport, methods(), listener(OURS.pem)) as address:
        for credentials in refused:
            async with connect(address, credentials) as channel:
                assert (await failure(channel, "/t/Echo"))[0] is StatusCode.UNAVAILABLE
        async with connect(address, known) as channel:
            assert await call(channel, "/t/Echo", b"hello") == b"hello"


@pytest.mark.parametrize(
    "tls",
    UNFIT.values(),
    ids=UNFIT,
)
async def test_invalid_certificates_are_an_error_at_the_start(
    transport: NewServer, tls: Tls
) -> None:
    with pytest.raises(ListenError) as caught:
        await transport(Listener("127.0.0.1:0", tls), methods()).start()
    assert "\n" not in str(caught.value)
    assert "certificate" in str(caught.value) or "client CA" in str(caught.value)


async def shown_to(address: str) -> str:
    """Open a new connection; return the server's certificate as PEM."""
    port = int(address.rpartition(":")[2])
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=10)


def pem(certificate: bytes) -> str:
    return certificate.decode()


async def test_renewed_certificates_are_used_for_new_connections_and_open_ones_continue(
    transport: NewServer,
) -> None:
    server = transport(listener(), methods())
    address = await server.start()
    async with connect(address, ssl_channel_credentials(OURS.pem)) as channel:
        assert await call(channel, "/t/Echo", b"before") == b"before"
        assert await shown_to(address) == pem(SERVER[0])
        for _ in range(2):
            certificate, key = OTHERS.issue("server")
            await server.renew(Tls(certificate, key))
            assert await shown_to(address) == pem(certificate)
        assert await call(channel, "/t/Echo", b"after") == b"after"
        async with connect(address, ssl_channel_credentials(OTHERS.pem)) as newcomer:
            assert await call(newcomer, "/t/Echo", b"hello") == b"hello"
        await server.drain(0)


async def test_certificates_of_a_removed_client_ca_are_refused_after_renewal(
    transport: NewServer,
) -> None:
    server = transport(listener(OURS.pem), methods())
    address = await server.start()
    await server.renew(Tls(*SERVER, OTHERS.pem))
    for authority, served in ((OURS, False), (OTHERS, True)):
        certificate, key = authority.issue("envoy")
        shown = ssl_channel_credentials(OURS.pem, key, certificate)
        async with connect(address, shown) as channel:
            if served:
                assert await call(channel, "/t/Echo", b"hello") == b"hello"
            else:
                assert (await failure(channel, "/t/Echo"))[0] is StatusCode.UNAVAILABLE
    await server.drain(0)


async def test_renewal_does_not_reopen_a_server_that_has_ended(transport: NewServer) -> None:
    server = transport(listener(), methods())
    address = await server.start()
    await asyncio.gather(server.renew(Tls(*SERVER)), server.drain(0))
    await server.renew(Tls(*SERVER))
    with pytest.raises(ConnectionRefusedError):
        await shown_to(address)


@pytest.mark.parametrize("tls", UNFIT.values(), ids=UNFIT)
async def test_invalid_certificates_leave_the_old_ones_in_use(
    transport: NewServer, tls: Tls
) -> None:
    server = transport(listener(), methods())
    address = await server.start()
    with pytest.raises(ListenError, match="cannot be used"):
        await server.renew(tls)
    assert await shown_to(address) == pem(SERVER[0])
    await server.drain(0)

"""TLS on every transport, with and without certificates of the clients."""

import pytest
from grpc import StatusCode, ssl_channel_credentials

from sidecar.transport.interface import Listener, ListenError, Tls
from tests.edge.certificates import Authority
from tests.edge.transport_rig import NewServer, call, connect, failure, methods, serving

OURS, OTHERS = Authority("ours"), Authority("others")
SERVER = OURS.issue("server")


def listener(client_ca: bytes | None = None) -> Listener:
    """Listen with TLS on any port."""
    certificate, key = SERVER
    return Listener("127.0.0.1:0", Tls(certificate, key, client_ca))


async def test_a_client_that_trusts_the_authority_is_served(transport: NewServer) -> None:
    async with serving(transport, methods(), listener()) as address:
        trusting = ssl_channel_credentials(OURS.pem)
        async with connect(address, trusting) as channel:
            assert await call(channel, "/t/Echo", b"hello") == b"hello"


async def test_a_client_without_tls_is_not_served(transport: NewServer) -> None:
    async with serving(transport, methods(), listener()) as address, connect(address) as channel:
        assert (await failure(channel, "/t/Echo"))[0] is StatusCode.UNAVAILABLE


async def test_with_a_client_ca_only_certificates_of_it_are_served(transport: NewServer) -> None:
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
    [
        Tls(b"no certificate", b"no key"),
        Tls(SERVER[0], OTHERS.issue("server")[1]),
        Tls(*SERVER, client_ca=b"no authority"),
    ],
    ids=["no PEM", "another key", "no authority"],
)
async def test_unfit_certificates_are_an_error_at_the_start(transport: NewServer, tls: Tls) -> None:
    with pytest.raises(ListenError) as caught:
        await transport(Listener("127.0.0.1:0", tls), methods()).start()
    assert "\n" not in str(caught.value)
    assert "certificate" in str(caught.value) or "client CA" in str(caught.value)

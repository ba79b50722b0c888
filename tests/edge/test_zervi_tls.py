"""Key sets over https: whose certificate is trusted, and what happens when that changes."""

import asyncio
import contextlib
import ssl
from datetime import timedelta
from pathlib import Path

from tests.edge.certificates import Authority
from tests.edge.key_server import document, serving
from tests.edge.zervi_rig import key_set, running, source

GOOD = document(key_set("a"))


def server_tls(
    issuer: Authority, directory: Path, address: str = "127.0.0.1", days: int = 1
) -> ssl.SSLContext:
    """Make a server's TLS with a certificate for this address, expired if ``days`` is negative."""
    certificate, key = issuer.issue("zervi.test", address=address, ends_in=timedelta(days=days))
    path = directory / "server.pem"
    path.write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_keys_come_over_https_from_a_server_that_ca_file_vouches_for(tmp_path: Path) -> None:
    """A certificate by the named authority for the right address is all that is needed."""
    ours = Authority("ours")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ours.pem)
    async with (
        serving(GOOD, server_tls(ours, tmp_path)) as server,
        running(source(server.url, ca_file)) as rig,
    ):
        await rig.fetched()
        assert rig.kids == {"a"}


async def test_a_certificate_that_does_not_verify_is_refused_until_it_does(tmp_path: Path) -> None:
    """A wrong authority is a failure; once ca_file names the right one, the next retry succeeds."""
    ours, others = Authority("ours"), Authority("others")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(others.pem)
    async with (
        serving(GOOD, server_tls(ours, tmp_path)) as server,
        running(source(server.url, ca_file)) as rig,
    ):
        await rig.fetched("failure")
        assert rig.last[1].startswith("the certificate does not verify: ")
        assert server.exchanges == []
        ca_file.write_bytes(ours.pem)
        await rig.fetched()
        assert rig.kids == {"a"}


async def test_without_ca_file_only_the_systems_authorities_count(tmp_path: Path) -> None:
    """A certificate of nobody's authority is refused by default."""
    async with (
        serving(GOOD, server_tls(Authority("ours"), tmp_path)) as server,
        running(source(server.url)) as rig,
    ):
        await rig.fetched("failure")
        assert "the certificate does not verify" in rig.last[1]


async def test_a_certificate_for_another_address_or_time_is_refused(tmp_path: Path) -> None:
    """The authority is not enough: address and dates count."""
    ours = Authority("ours")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ours.pem)
    for tls in (server_tls(ours, tmp_path, "192.0.2.1"), server_tls(ours, tmp_path, days=-1)):
        async with serving(GOOD, tls) as server, running(source(server.url, ca_file)) as rig:
            await rig.fetched("failure")
            assert "the certificate does not verify" in rig.last[1]


async def test_a_ca_file_that_is_missing_or_no_pem_is_named(tmp_path: Path) -> None:
    """The operator learns that it is the file, and its repair is noticed."""
    ours = Authority("ours")
    ca_file = tmp_path / "ca.pem"
    async with (
        serving(GOOD, server_tls(ours, tmp_path)) as server,
        running(source(server.url, ca_file)) as rig,
    ):
        await rig.fetched("failure")
        assert rig.last[1] == f"ca_file {ca_file} cannot be used: No such file or directory"
        ca_file.write_text("no certificate")
        await rig.fetched("failure")
        await rig.fetched("failure")
        assert rig.last[1].startswith(f"ca_file {ca_file} cannot be used: ")
        ca_file.write_bytes(ours.pem)
        await rig.fetched()


async def test_a_server_that_speaks_no_tls_is_a_failure() -> None:
    """An https URL is never answered in plain text."""

    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(plain, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with running(source(f"https://127.0.0.1:{port}/")) as rig:
            await rig.fetched("failure")
            assert rig.last[1] == "the TLS handshake failed"

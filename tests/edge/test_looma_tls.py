"""Registries and the login over TLS: which CA the sidecar trusts, which certificate it shows."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.app import wiring
from sidecar.looma.answers import Answer
from sidecar.looma.consul import ConsulRegistry
from sidecar.looma.etcd import EtcdRegistry
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.registry import Failed, Ok
from sidecar.looma.token import Login, LoginTokens
from sidecar.net.trust import TlsFiles
from tests.edge.certificates import Authority
from tests.edge.config_files import ISSUERS, POLICY, Files
from tests.edge.consul_stand_in import Consul
from tests.edge.etcd_server import etcd_server
from tests.edge.looma_rig import REPORT, SERVICE, http_registry
from tests.edge.test_looma_etcd import KEY, TTL


class Pki:
    """Two authorities, and files with certificates of the first, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ours, self.others = Authority("ours"), Authority("others")
        self.ca_file = self.write("ca.pem", self.ours.pem)
        for name in ("server", "node"):
            self.issue(name, self.ours)

    def write(self, name: str, content: bytes) -> Path:
        (self.directory / name).write_bytes(content)
        return self.directory / name

    def issue(self, name: str, authority: Authority) -> None:
        certificate, key = authority.issue(name)
        self.write(f"{name}.pem", certificate)
        self.write(f"{name}.key", key)

    def server(self, *, asks: bool = False) -> ssl.SSLContext:
        """Return a server's TLS, which asks its clients for a certificate or not."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca_file)
        context.load_cert_chain(self.directory / "server.pem", self.directory / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        return context

    def files(self, *, shows: bool = False) -> TlsFiles:
        """Return what the sidecar is given."""
        if not shows:
            return TlsFiles(self.ca_file)
        return TlsFiles(self.ca_file, self.directory / "node.pem", self.directory / "node.key")


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@contextlib.asynccontextmanager
async def calling(files: TlsFiles | None) -> AsyncIterator[HttpCaller]:
    yield HttpCaller() if files is None else HttpCaller(files)


@contextlib.asynccontextmanager
async def looma(context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Accept every call, and issue a token for each login."""

    async def yes(_: web.Request) -> web.Response:
        return web.json_response({"success": True, "data": {"service_token": "a-token"}})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", yes)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_registry_is_trusted_by_ca_file_and_by_nothing_else(pki: Pki) -> None:
    """Neither without it nor with another authority's."""
    strangers = TlsFiles(pki.write("others.pem", pki.others.pem))
    async with looma(pki.server()) as url:
        for files in (None, strangers):
            async with calling(files) as caller:
                found = await caller("GET", url)
                assert isinstance(found, Failed)
                assert found.detail.startswith("the certificate does not verify")
        async with calling(pki.files()) as caller:
            assert isinstance(await caller("GET", url), Answer)
            assert await http_registry(url, caller).register(REPORT) == Ok()


async def test_a_registry_that_asks_for_a_certificate_gets_it(pki: Pki) -> None:
    """And refuses who shows none, or one of another authority."""
    async with looma(pki.server(asks=True)) as url:
        async with calling(pki.files()) as caller:
            assert isinstance(await caller("GET", url), Failed)
        async with calling(pki.files(shows=True)) as caller:
            assert isinstance(await caller("GET", url), Answer)
            pki.issue("node", pki.others)
            assert isinstance(await caller("GET", url), Failed)


async def test_changed_files_count_at_the_next_call(pki: Pki) -> None:
    """The log names an invalid file by its configuration key, without a path."""
    served = pki.server(asks=True)
    pki.ca_file.write_bytes(pki.others.pem)
    async with looma(served) as url, calling(pki.files(shows=True)) as caller:
        assert isinstance(await caller("GET", url), Failed)
        pki.ca_file.write_bytes(pki.ours.pem)
        assert isinstance(await caller("GET", url), Answer)
        (pki.directory / "node.key").unlink()
        gone = Failed("looma: key_file cannot be used: No such file or directory")
        assert await caller("GET", url) == gone
        (pki.directory / "node.key").write_text("no key")
        found = await caller("GET", url)
        assert isinstance(found, Failed)
        assert found.detail.startswith("looma: cert_file and key_file cannot be used")
        pki.issue("node", pki.ours)
        assert isinstance(await caller("GET", url), Answer)


async def test_plain_http_needs_none_of_it(pki: Pki) -> None:
    """Files that are not there do no harm to who has no use for them."""
    absent = TlsFiles(pki.directory / "none.pem")
    async with looma(None) as url, calling(absent) as caller:
        assert isinstance(await caller("GET", url), Answer)


async def test_a_login_goes_over_the_same_trust(pki: Pki) -> None:
    """With the client's certificate."""
    async with looma(pki.server(asks=True)) as url, calling(pki.files(shows=True)) as caller:
        tokens = LoginTokens(Login(f"{url}/login", "a-service", "its secret"), caller)
        assert await tokens.token() == "a-token"
        await tokens.close()


async def test_a_real_etcd_that_wants_a_certificate_has_the_node(pki: Pki) -> None:
    """And refuses who shows none."""
    server = TlsFiles(pki.ca_file, pki.directory / "server.pem", pki.directory / "server.key")
    async with etcd_server(pki.directory, tls=server) as etcd:
        async with calling(pki.files(shows=True)) as caller:
            registry = EtcdRegistry(etcd.url, SERVICE.id, TTL, caller)
            assert await registry.register(REPORT) == Ok(ttl=TTL)
            assert (await etcd.value(KEY))["service_id"] == SERVICE.id
        async with calling(pki.files()) as caller:
            registry = EtcdRegistry(etcd.url, SERVICE.id, TTL, caller)
            assert isinstance(await registry.register(REPORT), Failed)


async def test_a_consul_that_wants_a_certificate_has_the_node(pki: Pki) -> None:
    consul = Consul(None, "1.20")
    await consul.start(pki.server(asks=True))
    try:
        async with calling(pki.files(shows=True)) as caller:
            registry = ConsulRegistry(consul.url, SERVICE.id, TTL, caller)
            assert await registry.register(REPORT) == Ok(ttl=TTL)
            assert SERVICE.id in consul.services
    finally:
        await consul.stop()


def section(keys: str, url: str = "https://looma") -> str:
    service = "service: {name: a, address: a, port: 1}"
    probe = "upstream: {probe: {url: http://127.0.0.1}}\n"
    return f"looma: {{url: '{url}', {keys}, {service}}}\n{probe}{ISSUERS}{POLICY}"


def test_the_files_come_from_the_configuration(pki: Pki) -> None:
    """Relative to it, and are among those that a reload looks at."""
    files = Files(pki.directory)
    files.write(sidecar=section("ca_file: ca.pem, cert_file: node.pem, key_file: node.key"))
    config = files.load()
    assert config.warnings == ()
    assert config.settings.looma is not None
    assert wiring.registry(config.settings.looma, None).tls == pki.files(shows=True)


@pytest.mark.parametrize(
    ("keys", "url", "said"),
    [
        ("cert_file: node.pem", "https://looma", "`cert_file` needs `key_file`"),
        ("key_file: node.key", "https://looma", "`key_file` needs `cert_file`"),
        (
            "ca_file: ca.pem",
            "http://127.0.0.1",
            "`ca_file` has no effect without an https `url` or `login_url`",
        ),
        (
            "cert_file: node.pem, key_file: server.key",
            "https://looma",
            "the key in `key_file` does not match the certificate in `cert_file`",
        ),
        ("ca_file: none.pem", "https://looma", "`ca_file` cannot be read"),
        ("ca_file: node.key", "https://looma", "`ca_file` contains no certificates"),
        (
            "cert_file: node.pem, key_file: none",
            "https://looma",
            "`key_file` cannot be read: No such file or directory (`looma.key_file` must be",
        ),
    ],
)
def test_what_does_not_fit_is_told(pki: Pki, keys: str, url: str, said: str) -> None:
    files = Files(pki.directory)
    files.write(sidecar=section(keys, url))
    (line,) = files.lines()
    assert said in line


def test_a_login_over_https_is_reason_enough_for_a_ca_file(pki: Pki) -> None:
    files = Files(pki.directory)
    files.environ = {**files.environ, "S": "a-secret-of-the-login"}
    token = "token: {login_url: 'https://zervi', service_id: a, secret_env: S}"
    files.write(sidecar=section(f"ca_file: ca.pem, {token}", "http://127.0.0.1"))
    assert files.load().warnings == ()

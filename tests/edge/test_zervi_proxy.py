"""Keys through a proxy, where the operator agreed to one."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.net.proxy import Proxies, Proxy, ProxyError
from sidecar.zervi.interface import JwksUrl
from tests.edge.certificates import Authority
from tests.edge.key_server import document, serving
from tests.edge.test_zervi_tls import server_tls
from tests.edge.zervi_rig import HASTE, SETTINGS, key_set, running, source


class Tunnels:
    """A proxy that tunnels to one port; ``heads`` are the requests that it got."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.target = 0
        self.port = 0
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            if b" 200 " in self.answer:
                there, back = await asyncio.open_connection("127.0.0.1", self.target)
                await asyncio.gather(copy(reader, back), copy(there, writer))
        writer.close()


def through(url: str, proxies: Proxies, ca_file: Path | None = None) -> JwksUrl:
    return source(url, ca_file)._replace(proxies=proxies)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy() -> AsyncIterator[Tunnels]:
    found = Tunnels()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


async def test_keys_come_through_the_proxy_that_the_environment_names(tmp_path: Path) -> None:
    """TLS ends at the issuer: the proxy sees its name and no request."""
    ours = Authority("ours")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ours.pem)
    tls = server_tls(ours, tmp_path)
    async with serving(document(key_set("a")), tls) as server, proxy() as way:
        way.target = server.port
        proxies = Proxies(f"http://user:pass%20word@127.0.0.1:{way.port}")
        async with running(through("https://zervi.test/keys", proxies, ca_file)) as rig:
            await rig.fetched()
            assert rig.kids == {"a"}
        lines = ["CONNECT zervi.test:443 HTTP/1.1", "Host: zervi.test:443"]
        assert way.heads[0].splitlines()[:2] == lines
        credentials = base64.b64encode(b"user:pass word").decode()
        assert f"Proxy-Authorization: Basic {credentials}" in way.heads[0]
        tunnels = len(way.heads)
        async with running(through(server.url, proxies, ca_file)) as rig:
            await rig.fetched()
            assert rig.kids == {"a"}
        assert len(way.heads) == tunnels  # loopback is reached directly


async def test_without_consent_or_for_http_no_proxy_is_used() -> None:
    """The environment by itself changes nothing."""
    async with serving(document(key_set("a"))) as server, proxy() as way:
        async with running(
            through(server.url, Proxies(f"http://127.0.0.1:{way.port}")), source(server.url)
        ) as rig:
            await rig.fetched()
        assert way.heads == []


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused a tunnel: status 407"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "refused a tunnel: status 502"),
        (b"SSH-2.0-x\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "no complete answer within 0.3 s"),
        (b"HTTP/1.1 299 " + b"x" * 9000, "not valid HTTP"),
        (b"HTTP/1.1 299 OK\r\n\r\nextra", "sent more than its answer"),
    ],
)
async def test_a_proxy_that_fails_is_named(answer: bytes, cause: str) -> None:
    """Its address and password are in no message."""
    async with serving(document(key_set("a"))) as server, proxy() as way:
        way.answer, way.target = answer, server.port
        proxies = Proxies(f"http://user:secret@127.0.0.1:{way.port}")
        settings = HASTE if "no complete answer" in cause else SETTINGS
        async with running(through("https://id.invalid/keys", proxies), settings=settings) as rig:
            await rig.fetched("failure")
            assert cause in rig.last[1]
            assert "secret" not in rig.last[1]


async def test_a_proxy_that_is_away_is_named() -> None:
    """No key is fetched on another way."""
    async with proxy() as way:
        pass
    proxies = Proxies(f"http://127.0.0.1:{way.port}")
    async with running(through("https://id.invalid/keys", proxies)) as rig:
        await rig.fetched("failure")
        assert rig.last[1] == "no connection: connection refused"


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", set()),
        ("*", {"id.example", "a.id.example", "10.1.2.3", "fd00::1", "badid.example"}),
        ("id.example", {"id.example", "a.id.example"}),
        (".id.example", {"a.id.example"}),
        ("*.id.example", {"a.id.example"}),
        ("ID.example:443 , other", {"id.example", "a.id.example"}),
        ("id.example:8443", set()),
        ("10.0.0.0/8", {"10.1.2.3"}),
        ("10.1.2.3", {"10.1.2.3"}),
        ("fd00::/8", {"fd00::1"}),
        ("[fd00::1]:443", {"fd00::1"}),
        ("10.0.0.0/99,,:,/", set()),
    ],
)
def test_hosts_of_no_proxy_are_reached_directly(no_proxy: str, direct: set[str]) -> None:
    """By name, domain, address or network, perhaps with a port; loopback always."""
    proxies = Proxies("http://proxy.example:3128", no_proxy)
    hosts = ("id.example", "a.id.example", "badid.example", "10.1.2.3", "fd00::1")
    assert {host for host in hosts if proxies.towards(host, 443) is None} == direct
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"):
        assert proxies.towards(host, 443) is None


def test_the_environment_s_names_are_known_in_both_cases() -> None:
    """In lower case first; a URL without a scheme is one of http."""
    environ = {"HTTPS_PROXY": "a:1", "https_proxy": "b:2", "NO_PROXY": "c"}
    assert Proxies.of(environ) == Proxies("b:2", "c")
    assert Proxies("b:2").towards("id.example", 443) == Proxy("b", 2)
    assert Proxies.of({}).towards("id.example", 443) is None


@pytest.mark.parametrize(
    "url", ["socks5://a:1", "https://a:1", "http://", "http://a:x", "http://[a"]
)
def test_a_proxy_of_another_kind_is_an_error(url: str) -> None:
    """Without its address."""
    with pytest.raises(ProxyError, match=r"^HTTPS_PROXY is not an http:// URL$"):
        Proxies(url).towards("id.example", 443)

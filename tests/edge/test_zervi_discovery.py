"""An issuer's key set is found by its OpenID configuration; a token goes to its server only."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.zervi.discovery import DISCOVERY_INTERVAL, DiscoveryFetcher
from sidecar.zervi.interface import FetchError, JwksUrl
from tests.edge.certificates import Authority
from tests.edge.key_server import Exchange, KeyServer, document, revalidated, serving
from tests.edge.test_zervi_tls import server_tls
from tests.edge.zervi_rig import ALGORITHMS, key_set, running

CONFIGURATION = "/realm/.well-known/openid-configuration"


class Site:
    """A server with a configuration and a key set; ``members`` change the configuration."""

    def __init__(self) -> None:
        self.server: KeyServer
        self.members: dict[str, Any] = {}
        self.keys = key_set("a")
        self.configuration: bytes | None = None
        self.keys_status = "200 OK"

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/realm"

    @property
    def asked(self) -> list[str]:
        return [exchange.target for exchange in self.server.exchanges]

    def source(self, **others: Any) -> JwksUrl:
        url = f"http://127.0.0.1:{self.server.port}{CONFIGURATION}"
        return JwksUrl(self.issuer, ALGORITHMS, url, discovery=True)._replace(**others)

    async def answer(self, exchange: Exchange) -> None:
        if exchange.target != CONFIGURATION:
            await revalidated(self.keys, '"1"')(exchange) if self.keys_status == (
                "200 OK"
            ) else await document(b"", status=self.keys_status)(exchange)
            return
        members = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"} | self.members
        content = self.configuration or json.dumps(members).encode()
        await document(content)(exchange)


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    found = Site()
    async with serving(found.answer) as found.server:
        yield found


async def test_the_key_set_is_where_the_configuration_says() -> None:
    """One request for each; later fetches need only the second, with its validator."""
    async with site() as here, running(here.source()) as rig:
        await rig.fetched()
        assert rig.kids == {"a"}
        assert here.asked == [CONFIGURATION, "/realm/keys"]
        assert await rig.ask() is True
        assert here.asked[2:] == ["/realm/keys"]
        assert here.server.exchanges[2].headers["if-none-match"] == '"1"'
        assert rig.last[0] == "not_modified"


async def test_the_configuration_is_read_again_after_an_hour_and_after_a_failure() -> None:
    """An issuer may move its key set; the validator of the old address is not sent to the new."""
    now = 0.0
    async with site() as here:
        fetcher = DiscoveryFetcher(here.source(), clock=lambda: now)
        validator = (await fetcher.fetch(None)).validator
        here.members = {"jwks_uri": f"{here.issuer}/moved"}
        await fetcher.fetch(validator)
        assert here.asked == [CONFIGURATION, "/realm/keys", "/realm/keys"]
        now += DISCOVERY_INTERVAL
        assert (await fetcher.fetch(validator)).body is not None
        assert here.asked[3:] == [CONFIGURATION, "/realm/moved"]
        here.keys_status = "404 Not Found"
        with pytest.raises(FetchError, match=r"status 404 \(jwks_uri http://.*/realm/moved\)"):
            await fetcher.fetch(None)
        here.keys_status = "200 OK"
        await fetcher.fetch(None)
        assert here.asked[6:] == [CONFIGURATION, "/realm/moved"]


@pytest.mark.parametrize("suffix", ["/", "x", "/.", "?"])
async def test_the_issuer_is_compared_exactly(suffix: str) -> None:
    """Another issuer's configuration would bring another issuer's keys."""
    async with site() as here:
        here.members = {"issuer": here.issuer + suffix}
        async with running(here.source()) as rig:
            await rig.fetched("failure")
            assert "it is that of another issuer " + here.issuer + suffix in rig.last[1]
            assert ("only by a trailing slash" in rig.last[1]) is (suffix == "/")
            assert set(here.asked) == {CONFIGURATION}
            here.members = {}
            await rig.fetched()


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        ({"issuer": None}, "another issuer"),
        ({"issuer": ["https://a.example"]}, "another issuer"),
        ({"issuer": "https://user:secret@a.example"}, "another issuer"),
        ({"jwks_uri": None}, "no valid jwks_uri"),
        ({"jwks_uri": 7}, "no valid jwks_uri"),
        ({"jwks_uri": "keys"}, "no valid jwks_uri"),
        ({"jwks_uri": "http://user:secret@127.0.0.1/"}, "no valid jwks_uri"),
        ({"jwks_uri": "http://127.0.0.1/" + "a" * 3000}, "no valid jwks_uri"),
        ({"jwks_uri": "http://[::1/"}, "no valid jwks_uri"),
        ({"jwks_uri": "file:///etc/passwd"}, "no valid jwks_uri"),
        ({"jwks_uri": "gopher://127.0.0.1/"}, "not an https URL"),
    ],
)
async def test_a_wrong_member_is_named(members: dict[str, Any], cause: str) -> None:
    """Nothing of it is asked for, and no secret in it is logged."""
    async with site() as here:
        here.members = members
        with pytest.raises(FetchError) as caught:
            await DiscoveryFetcher(here.source()).fetch(None)
        assert cause in caught.value.cause
        assert "secret" not in caught.value.cause
        assert here.asked == [CONFIGURATION]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (key_set("a"), "it is a JWKS"),
        (b"[]", "not a JSON object"),
        (b"<html>", "HTML"),
        (b"{", "not JSON"),
        (b'{"issuer": "a", "issuer": "b"}', "twice"),
        (b" " * 300_000, "larger than 256 KiB"),
    ],
)
async def test_a_wrong_configuration_is_named(content: bytes, cause: str) -> None:
    """The last good keys stay, as after every failure."""
    async with site() as here, running(here.source()) as rig:
        await rig.fetched()
        here.configuration, here.keys_status = content, "404 Not Found"
        assert await rig.ask() is False
        await rig.fetched("failure")
        assert cause in rig.last[1]
        assert rig.kids == {"a"}


async def test_https_does_not_lead_to_http(tmp_path: Path) -> None:
    """Keys over http could be anyone's."""
    ours = Authority("ours")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ours.pem)
    members = {"issuer": "https://a.example", "jwks_uri": "http://127.0.0.1/keys"}
    answer = document(json.dumps(members).encode())
    async with serving(answer, server_tls(ours, tmp_path)) as server:
        source = JwksUrl("https://a.example", ALGORITHMS, server.url, ca_file, discovery=True)
        with pytest.raises(FetchError, match="its jwks_uri is not an https URL"):
            await DiscoveryFetcher(source).fetch(None)


async def test_the_token_is_read_for_each_fetch(tmp_path: Path) -> None:
    """Kubernetes replaces it each hour; a line break at its end is not part of it."""
    file = tmp_path / "token"
    file.write_text("one\n")
    async with site() as here:
        source = here.source(url=f"{here.issuer}/keys", discovery=False, token_file=file)
        async with running(source) as rig:
            await rig.fetched()
            file.write_text("two")
            await rig.ask()
            sent = [exchange.headers["authorization"] for exchange in here.server.exchanges]
            assert sent == ["Bearer one", "Bearer two"]


async def test_the_token_is_sent_to_no_other_server(tmp_path: Path) -> None:
    """A configuration that names another server's key set does not get it a token."""
    file = tmp_path / "token"
    file.write_text("secret-token")
    async with site() as here, site() as other:
        here.members = {"jwks_uri": f"{other.issuer}/keys"}
        async with running(here.source(token_file=file)) as rig:
            await rig.fetched()
        assert here.server.exchanges[0].headers["authorization"] == "Bearer secret-token"
        assert "authorization" not in other.server.exchanges[0].headers
        here.members = {}
        async with running(here.source(token_file=file)) as rig:
            await rig.fetched()
        assert here.server.exchanges[-1].headers["authorization"] == "Bearer secret-token"


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"a b", b"a\r\nX-Evil: b", b"\xc3\xa9", b"x" * 9000, b"a\0b"]
)
async def test_a_file_without_a_token_is_a_failure(content: bytes, tmp_path: Path) -> None:
    """No request is sent with it, nor without."""
    file = tmp_path / "token"
    file.write_bytes(content)
    async with site() as here, running(here.source(token_file=file)) as rig:
        await rig.fetched("failure")
        assert "jwks_token_file is not visible ASCII" in rig.last[1]
        assert here.asked == []
        file.unlink()
        await rig.fetched("failure")
        assert "jwks_token_file cannot be read: no such file or directory" in rig.last[1]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_server_that_expects_a_token_is_explained(status: str) -> None:
    """As the API server of Kubernetes does."""
    async with site() as here:
        here.keys_status = status
        with pytest.raises(FetchError) as caught:
            await DiscoveryFetcher(here.source()).fetch(None)
        assert "jwks_token_file" in caught.value.advice

"""``sidecar.yaml`` that changes while the sidecar runs: the whole one, real files and signals."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from demo import minting
from demo.looma import start_looma
from sidecar.app.promotion import Candidate
from sidecar.config import load
from tests.edge.config_files import ENVIRON, Files
from tests.edge.looma_rig import Server, server
from tests.edge.sidecar_rig import ISSUER, Sidecar, running, token
from tests.support.waiting import eventually

BY_SECRET = {"issuer": ISSUER, "secret_file": "secret"}
SERVICE = {"name": "basic-server", "address": "10.0.0.7", "port": 10000}
OLD_KEY, NEW_KEY = minting.new_key("old", "ES256"), minting.new_key("new", "ES256")


def issuer(name: str, keys: Server, **others: Any) -> dict[str, Any]:
    """Return an issuer whose keys a server has."""
    return {"issuer": name, "jwks_url": f"http://127.0.0.1:{keys.port}/keys", **others}


def zervi(*issuers: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return a section of issuers, beside the one with a secret."""
    return {"issuers": [BY_SECRET, *issuers], **others}


@asynccontextmanager
async def serving(key: minting.SigningKey) -> AsyncIterator[Server]:
    """Serve a key set; ``accepted`` counts how often it is fetched."""
    body = minting.jwks(key)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    async with server(head.encode() + body) as made:
        yield made


def of(name: str, key: minting.SigningKey, **claims: Any) -> str:
    """Return a token of an issuer."""
    return minting.sign({"iss": name, "sub": "7", "exp": 4_000_000_000, **claims}, key)


async def reload(sidecar: Sidecar, **sections: Any) -> None:
    """Write other settings and wait until they are in force."""
    reloads = 'zervi_sidecar_policy_reloads_total{result="success"}'
    before = await sidecar.metric(reloads)
    sidecar.configure(**sections)
    sidecar.signal(signal.SIGHUP)
    async with asyncio.timeout(20):
        while await sidecar.metric(reloads) == before:
            pass  # each question takes a turn of both


async def test_issuers_come_and_go_and_no_request_of_the_others_is_denied(tmp_path: Path) -> None:
    """Key sets of issuers that stay are kept; a removed issuer's tokens are refused immediately."""
    can_read = {"permissions": ["closed:read"]}
    async with serving(OLD_KEY) as old, serving(NEW_KEY) as new:
        begin = zervi(issuer("old", old))
        async with running(tmp_path, lambda it: it.configure(zervi=begin)) as sidecar:
            await sidecar.says("issuer old: 1 key from")
            staying = of("old", OLD_KEY, **can_read)
            reasons: list[str] = []

            async def ask() -> None:
                while True:
                    reasons.append(await sidecar.reason(bearer=staying))

            asking = asyncio.create_task(ask())
            # The new issuer is first: the places of the others change.
            both = {"issuers": [issuer("new", new), issuer("old", old), BY_SECRET]}
            await reload(sidecar, zervi=both)
            assert await sidecar.reason(bearer=of("new", NEW_KEY, **can_read)) == "ok"
            assert (await sidecar.component("issuer:new"))["state"] == "ready"
            asking.cancel()
            assert set(reasons) == {"ok"}
            assert (old.accepted, new.accepted) == (1, 1)
            await reload(sidecar, zervi=zervi(issuer("new", new)))
            assert await sidecar.reason(bearer=staying) == "token_issuer"
            assert await sidecar.reason(bearer=of("new", NEW_KEY, **can_read)) == "ok"
            assert "issuer:old" not in (await sidecar.ops("/readyz"))[1]
            assert 'jwks_keys{issuer="old"}' not in (await sidecar.ops("/metrics"))[1]
            assert new.accepted == 1


async def test_a_new_issuer_whose_keys_do_not_come_delays_nothing_for_long(tmp_path: Path) -> None:
    async with server(None) as silent, running(tmp_path) as sidecar:
        slow = zervi(issuer("slow", silent), jwks={"timeout": "300ms", "unknown_key_wait": "10ms"})
        await reload(sidecar, zervi=slow)
        assert await sidecar.reason(bearer=of("slow", NEW_KEY)) == "not_ready"
        assert await sidecar.reason(bearer=token()) == "ok"
        assert (await sidecar.component("issuer:slow"))["state"] == "waiting"


async def test_rules_for_tokens_and_answers_follow_the_file(tmp_path: Path) -> None:
    """Also for tokens that were verified before."""
    async with running(tmp_path) as sidecar:
        editor = token(permissions=[], role="editor", scopes=["closed:read"])
        for _ in range(2):
            assert await sidecar.reason(bearer=editor) == "permission_denied"
        await reload(sidecar, zervi=zervi(role_permissions={"editor": ["closed:read"]}))
        assert await sidecar.reason(bearer=editor) == "ok"
        await reload(sidecar, zervi=zervi(claims={"permissions": ["scopes"]}))
        assert await sidecar.reason(bearer=editor) == "ok"
        await reload(sidecar, zervi=zervi())
        assert await sidecar.reason(bearer=editor) == "permission_denied"
        await reload(sidecar, zervi=zervi(token_sources=[{"cookie": "session"}]))
        assert await sidecar.reason(bearer=editor) == "token_missing"
        await sidecar.says("sidecar.yaml reloaded: zervi.token_sources")


async def test_listen_takes_a_restart_and_the_log_names_its_keys(tmp_path: Path) -> None:
    async with running(tmp_path) as sidecar:
        listen = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:1", "transport": "grpcio"}
        await reload(sidecar, listen=listen, log={"decisions": "all", "level": "warning"})
        for key in ("listen.ops", "listen.transport"):
            await sidecar.says(f"`{key}` changed: takes effect after a restart")
        assert not sidecar.said("`listen.authz`")
        assert await sidecar.reason(bearer=token()) == "ok"
        await sidecar.says('"decision":"allow"')
        await reload(sidecar)
        assert len(sidecar.said("sidecar.yaml reloaded")) == 1  # the second: log.level is warning


async def test_a_file_that_a_refused_configuration_names_is_watched(tmp_path: Path) -> None:
    """It may be put right there, without a change of ``sidecar.yaml``."""
    async with running(tmp_path) as sidecar:
        sidecar.configure(zervi={"issuers": [{"issuer": ISSUER, "secret_file": "next"}]})
        await sidecar.says("not reloaded: ")
        assert (await sidecar.component("policy"))["state"] == "degraded"
        assert await sidecar.reason(bearer=token()) == "ok"
        sidecar.write("next", "the next secret, made up for the tests as well")
        await sidecar.says("secrets reloaded")
        assert (await sidecar.component("policy"))["state"] == "ready"
        assert await sidecar.reason(bearer=token()) == "token_signature"


async def test_the_probe_follows_the_file_and_its_health_does_not_flap(tmp_path: Path) -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as upstream:
        url = f"http://127.0.0.1:{upstream.port}/"
        async with running(tmp_path) as sidecar:
            await reload(sidecar, upstream={"probe": {"url": url}})
            await sidecar.says("the upstream is healthy")
            await reload(sidecar, upstream={"probe": {"url": f"{url}other"}})
            await eventually(lambda: upstream.accepted == 2, "the other probe")
            assert (await sidecar.component("upstream"))["state"] == "ready"
            await reload(sidecar)
            assert '"upstream"' not in (await sidecar.ops("/readyz"))[1]
            assert "zervi_sidecar_upstream_state" not in (await sidecar.ops("/metrics"))[1]


async def test_the_registration_follows_the_file_and_no_node_is_listed_twice(
    tmp_path: Path,
) -> None:
    looma = await start_looma(0)
    listed: list[int] = []

    def section(**service: Any) -> dict[str, Any]:
        return {"url": looma.url, "heartbeat": "1s", "service": {**SERVICE, **service}}

    def addresses() -> dict[str, str]:
        listed.append(len(looma.nodes))
        return {name: node.registration["address"] for name, node in looma.nodes.items()}

    try:
        async with running(tmp_path) as sidecar:
            await reload(sidecar, looma=section(id="one"))
            await eventually(lambda: addresses() == {"one": "10.0.0.7"}, "the node")
            await reload(sidecar, looma=section(id="one", address="10.0.0.8"))
            await eventually(lambda: addresses() == {"one": "10.0.0.8"}, "its other address")
            await reload(sidecar, looma=section(id="two"))
            await eventually(lambda: addresses() == {"two": "10.0.0.7"}, "its other id")
            await reload(sidecar)
            await eventually(lambda: not addresses(), "none, without the section")
        assert max(listed) == 1
    finally:
        await looma.stop()


def test_the_end_of_a_promotion_is_logged_with_its_cause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And a promotion does not look like a reload."""
    files = Files(tmp_path)
    files.write(
        sidecar="zervi: {issuers: [{issuer: zervi, secret_env: ZERVI_JWT_SECRET}]}\n"
        "policy: {file: routes.yaml, shadow: {file: next.yaml, promotable: true}}\n",
        next='api_gateway: {routes: [{path: "/next"}]}\n',
    )
    config = load(files.config, ENVIRON)
    candidate = Candidate(config, lambda *_: None)
    assert candidate.promote() is not None
    assert config.shadow is not None
    assert f"promoted: the candidate {config.shadow.digest} decides" in caplog.text
    assert candidate.take(load(files.config, ENVIRON)).digest == config.shadow.digest
    files.write(routes='api_gateway: {routes: [{path: "/x"}]}  # a comment\n')
    assert candidate.take(load(files.config, ENVIRON)).digest != config.shadow.digest
    ended = f"the promotion of {config.shadow.digest} has ended, because routes.yaml changed"
    assert ended in caplog.text

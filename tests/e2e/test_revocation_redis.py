"""Revocations from a real server of Redis' protocol over TLS, through a real Envoy.

The wheel's server has no TLS, so a relay with a certificate is in front of it.
"""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo import minting
from demo.ports import Ports
from demo.stack import Setup, Stack, running
from tests.e2e.conftest import ROUTES
from tests.edge import valkey_server
from tests.edge.certificates import Authority
from tests.edge.revocation_rig import server_tls
from tests.edge.valkey_server import Valkey
from tests.support.http1 import send
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "made-up-for-this-test"
KEY = "zervi:revocations"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def over_tls(server: Valkey, authority: Authority, directory: Path) -> AsyncIterator[int]:
    """Relay TLS connections of clients with a certificate of the authority; yield the port."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection("127.0.0.1", server.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer))

    context = server_tls(authority, directory)
    context.load_verify_locations(directory / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    listening = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


@contextlib.asynccontextmanager
async def following(server: Valkey, directory: Path) -> AsyncIterator[Stack]:
    authority = Authority("ours")
    async with over_tls(server, authority, directory) as port:
        certificate, key = authority.issue("sidecar")
        (directory / "client.crt").write_bytes(certificate)
        (directory / "client.key").write_bytes(key)
        (directory / "password").write_text(PASSWORD)

        def configure(config: dict[str, Any]) -> None:
            issuers = [issuer["issuer"] for issuer in config["zervi"]["issuers"]]
            config["zervi"]["revocation"] = {
                "redis": f"rediss://127.0.0.1:{port}",
                "token": {"file": str(directory / "password")},
                "ca_file": str(directory / "ca.crt"),
                "cert_file": str(directory / "client.crt"),
                "key_file": str(directory / "client.key"),
                "issuers": issuers,
                "poll": "1s",
            }

        ports = Ports(*(free_port() for _ in Ports._fields))
        (directory / "stack").mkdir()
        setup = Setup(routes=ROUTES, configure=configure)
        async with running(ports, directory / "stack", setup) as stack:
            yield stack


async def revoke(server: Valkey, username: str) -> None:
    user = minting.USERS[username].user_id
    entry = json.dumps({"user_id": str(user), "not_before": int(time.time()) + 1})
    async with server.client() as client:
        await client.zadd(KEY, {entry: time.time()})
        await client.publish(KEY, entry)


async def reason(stack: Stack, token: str) -> str:
    answer = await send(stack.ports.envoy, "/api/services/list", ("Authorization", token))
    return "ok" if answer.status == 200 else f"{answer.status} {answer.json['reason']}"


async def becomes(stack: Stack, wanted: str, token: str) -> None:
    async with asyncio.timeout(30):
        while await reason(stack, token) != wanted:
            pass


async def feed_is(stack: Stack, wanted: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            async with session.get(f"{stack.ops_url}/readyz") as answer:
                if (await answer.json())["components"]["revocation"]["state"] == wanted:
                    return
            await asyncio.sleep(0.05)


async def test_a_revoked_token_stays_revoked_through_kill_and_restart(tmp_path: Path) -> None:
    """And while the server is down, what was open stays open."""
    async with valkey_server.running(tmp_path, "--requirepass", PASSWORD) as server:
        server.password = PASSWORD
        async with following(server, tmp_path) as stack:
            alice, bob = (f"Bearer {stack.zervi.token(name)}" for name in ("alice", "bob"))
            assert [await reason(stack, each) for each in (alice, bob)] == ["ok", "ok"]
            await revoke(server, "alice")
            await becomes(stack, "401 token_revoked", alice)
            assert await reason(stack, bob) == "ok"
            await server.kill()
            await feed_is(stack, "degraded")
            assert await reason(stack, alice) == "401 token_revoked"
            assert await reason(stack, bob) == "ok"
            await server.start()
            await feed_is(stack, "ready")
            await revoke(server, "bob")
            await becomes(stack, "401 token_revoked", bob)
            assert await reason(stack, alice) == "401 token_revoked"
            assert PASSWORD not in stack.sidecar.output()

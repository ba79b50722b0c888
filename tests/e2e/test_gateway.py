"""The gateway through a real Envoy: each user reaches an own Basic Server."""

import asyncio
import contextlib
import copy
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
import yaml

from demo.basic_server import BasicServer
from demo.envoy import Envoy
from demo.gateway import bootstrap
from demo.looma import Looma, LoomaNode, start_looma
from demo.minting import sign
from demo.process import Process
from demo.stack import until_ready
from sidecar.config import load
from sidecar.workbench.doctor import Wanted, examine
from sidecar.workbench.gateway_files import gateway_files
from sidecar.workbench.touched import touched
from tests.support.ports import free_port
from tests.support.waiting import eventually

SECRET = b"0123456789abcdef0123456789abcdef-gateway"
ROUTES = """\
api_gateway:
  routes:
    - {path: "/api/services/*", target: "basic-server-*", permissions: ["service:access"]}
    - {path: "/public/*", target: "basic-server-*", auth_required: false}
    - {path: "/api/auth/*", target: zervi-auth-service, auth_required: false}
    - {path: "/nowhere/*", target: no-such-service, auth_required: false}
"""
USERS = [f"user-{number}" for number in range(30)]


@dataclass
class Rig:
    """Looma, a gateway with its Envoy, and Basic Servers by port."""

    directory: Path
    looma: Looma
    sidecar: Process
    envoy: Envoy
    ops: str
    session: aiohttp.ClientSession
    servers: dict[int, BasicServer] = field(default_factory=dict)

    async def add(self, number: int, *, port: int | None = None) -> int:
        """Start a Basic Server and register it."""
        port = port or free_port()
        server = BasicServer()
        await server.start(port)
        self.servers[port] = server
        self.register(number, port)
        return port

    def register(self, number: int, port: int, **fields: Any) -> None:
        name = f"basic-server-{number}"
        entry = {"service_id": name, "service_name": name, "address": "127.0.0.1", "port": port}
        loop = asyncio.get_running_loop()
        self.looma.nodes[name] = LoomaNode(
            name, {**entry, **fields}, "active", "healthy", datetime.now(UTC), loop.time()
        )

    async def ask(self, user: str | None, path: str = "/api/services/x") -> tuple[int, int | None]:
        """Return the status, and the port of the Basic Server that answered."""
        headers = {}
        if user is not None:
            claims = {"sub": user, "iss": "gw", "permissions": ["service:access"], "exp": 4e9}
            headers["authorization"] = f"Bearer {sign(claims, SECRET)}"
        for server in self.servers.values():
            server.received.clear()
        async with self.session.get(f"{self.envoy.url}{path}", headers=headers) as answer:
            await answer.read()
        for port, server in self.servers.items():
            if server.received:
                return answer.status, port
        return answer.status, None

    async def until_placed(self, ports: set[int]) -> dict[str, int | None]:
        """Wait until exactly these servers serve the users; return who is served where."""
        return await self.until(lambda placed: set(placed.values()) == ports)

    async def until(self, holds: Callable[[dict[str, int | None]], bool]) -> dict[str, int | None]:
        """Ask for every user until the condition holds; Envoy and Looma give no event for it."""
        async with asyncio.timeout(50):
            while True:
                placed = {user: (await self.ask(user))[1] for user in USERS}
                if holds(placed):
                    return placed
                await asyncio.sleep(0.1)


def config(directory: Path, authz: int, ops: int, looma: str) -> dict[str, Any]:
    (directory / "secret").write_bytes(SECRET)
    return {
        "listen": {"authz": f"127.0.0.1:{authz}", "ops": f"127.0.0.1:{ops}"},
        "zervi": {"issuers": [{"issuer": "gw", "secret_file": "secret"}]},
        "policy": {"file": "routes.yaml"},
        "looma": {
            "url": looma,
            "service": {"name": "gateway", "address": "127.0.0.1", "port": 10000},
            "heartbeat": "1s",
        },
        "gateway": {
            "envoy_dir": str(directory / "envoy"),
            "allow_networks": ["127.0.0.0/8"],
            "services": {"zervi-auth-service": ["http://127.0.0.1:1"]},
            "unsafe_plaintext_targets": True,
        },
    }


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    looma = await start_looma(0, poll=1.0)
    authz, ops = free_port(), free_port()
    (tmp_path / "routes.yaml").write_text(ROUTES)
    path = tmp_path / "sidecar.yaml"
    path.write_text(yaml.safe_dump(config(tmp_path, authz, ops, looma.url)))
    command = [sys.executable, "-m", "sidecar", "serve", "--config", str(path)]
    sidecar = await Process.start("sidecar", command, tmp_path)
    url = f"http://127.0.0.1:{ops}"
    try:
        await until_ready(sidecar, url)
        envoy = await Envoy.start(bootstrap(tmp_path / "envoy", authz), tmp_path)
        try:
            async with aiohttp.ClientSession() as session:
                rig = Rig(tmp_path, looma, sidecar, envoy, url, session)
                yield rig
                for server in rig.servers.values():
                    await server.stop()
        finally:
            await envoy.stop()
    finally:
        await sidecar.stop()
        await looma.stop()


async def test_users_reach_their_own_servers_which_leave_return_and_are_assigned(rig: Rig) -> None:
    assert (await rig.ask("alice"))[0] == 503
    ports = {await rig.add(number) for number in range(1, 4)}
    await rig.until_placed(ports)
    first = await rig.until_placed(ports)  # the first may have begun before Envoy knew all
    assert min(Counter(first.values()).values()) >= 2

    # A request without a caller goes to any of them, one to an unknown target to none.
    assert (await rig.ask(None, "/public/x"))[1] in ports
    assert await rig.ask(None, "/nowhere/x") == (503, None)
    assert await rig.ask(None, "/api/services/x") == (401, None)

    # One that is drained loses its users, and no request fails.
    gone = min(ports)
    left = next(name for name, node in rig.looma.nodes.items() if node.registration["port"] == gone)
    rig.looma.nodes[left].registration["status"] = "draining"
    rig.looma.nodes[left].health_status = "critical"
    second = await rig.until_placed(ports - {gone})
    assert all(second[user] == port for user, port in first.items() if port != gone)
    rig.looma.nodes[left].health_status = "healthy"
    await rig.until(lambda placed: placed == first)

    # Looma assigns a server to a user.
    user = next(user for user, port in first.items() if port != gone)
    async with rig.session.post(
        f"{rig.looma.url}/cluster/allocations",
        json={"user_id": user, "service_name": left, "service_id": left},
    ) as answer:
        assert answer.status == 201
    await rig.until(lambda placed: placed[user] == gone)


async def test_doctor_accepts_the_running_gateway_and_not_with_another_policy(rig: Rig) -> None:
    ports = {await rig.add(number) for number in range(1, 3)}
    await rig.until_placed(ports)
    loaded = load(rig.directory / "sidecar.yaml", {}, offline=True)
    headers, found = touched(loaded), json.loads(await rig.envoy.admin("/config_dump?include_eds"))
    authz = loaded.settings.listen.authz
    wanted = Wanted(authz, headers.names, headers.removed, gateway=gateway_files(loaded))
    assert list(examine(copy.deepcopy(found), wanted)) == []
    assert wanted.gateway is not None
    fewer = wanted.gateway._replace(targets=wanted.gateway.targets - {"basic-server-*"})
    assert "gateway" in {each.code for each in examine(found, wanted._replace(gateway=fewer))}


async def test_a_killed_servers_users_are_served_by_another_without_a_failed_request(
    rig: Rig,
) -> None:
    ports = {await rig.add(number) for number in range(1, 4)}
    await rig.until_placed(ports)
    first = await rig.until_placed(ports)
    gone = max(ports)
    await rig.servers.pop(gone).stop()
    for user in USERS:
        status, port = await rig.ask(user)
        assert status == 200
        assert port == first[user] or first[user] == gone


class Killable:
    """A Basic Server that can die: every connection is reset, also of requests in flight."""

    def __init__(self) -> None:
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def kill(self) -> None:
        self._server.close()
        for writer in self.open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.transport.is_closing():
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.002)  # its work: some requests are always in flight
                body = str(self.port).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        self.open.discard(writer)
        writer.close()


@dataclass
class Load:
    """Users that send requests without a pause. ``sent`` is user, start, status and port."""

    rig: Rig
    sent: list[tuple[str, float, int, int]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self, users: list[str]) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._ask(user)) for user in users]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, holds: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Wait until the condition holds for the last server of each user."""
        async with asyncio.timeout(30):
            while True:
                placed = {user: port for user, _, _, port in self.sent}
                if holds(placed):
                    return placed
                await asyncio.sleep(0.02)

    async def more(self, count: int) -> None:
        """Wait for this many further answers."""
        wanted = len(self.sent) + count
        await self.until(lambda _: len(self.sent) >= wanted)

    async def _ask(self, user: str) -> None:
        claims = {"sub": user, "iss": "gw", "permissions": ["service:access"], "exp": 4e9}
        headers = {"authorization": f"Bearer {sign(claims, SECRET)}"}
        clock = asyncio.get_running_loop().time
        url = f"{self.rig.envoy.url}/api/services/x"
        while True:
            began = clock()
            async with self.rig.session.get(url, headers=headers) as answer:
                text = await answer.text()
            port = int(text) if answer.status == 200 else 0
            self.sent.append((user, began, answer.status, port))


@contextlib.asynccontextmanager
async def started(rig: Rig) -> AsyncIterator[list[Killable]]:
    """Start and register three servers."""
    servers = [Killable() for _ in range(3)]
    for number, server in enumerate(servers, 1):
        rig.register(number, await server.start())
    try:
        yield servers
    finally:
        for server in servers:
            server.kill()
        await eventually(lambda: not any(server.open for server in servers), "connections end")


async def test_under_load_one_that_leaves_loses_no_request(rig: Rig) -> None:
    load = Load(rig)
    async with started(rig) as servers, load.running(USERS[:12]):
        ports, gone = {server.port for server in servers}, servers[0]
        first = await load.until(lambda placed: set(placed.values()) == ports)
        load.sent.clear()
        async with rig.session.delete(
            f"{rig.looma.url}/cluster/deregister/basic-server-1"
        ) as answer:
            assert answer.status == 200
        await load.until(
            lambda placed: len(placed) == 12 and set(placed.values()) == ports - {gone.port}
        )
        await load.more(50)  # a request that was in flight has ended
        gone.kill()
        await load.more(200)
    assert [each for each in load.sent if each[2] != 200] == []
    last = {user: port for user, _, _, port in load.sent}
    assert {user for user in first if first[user] != last[user]} == {
        user for user in first if first[user] == gone.port
    }


async def test_under_load_one_that_is_killed_fails_only_what_is_in_flight_on_it(rig: Rig) -> None:
    load = Load(rig)
    async with started(rig) as servers, load.running(USERS[:12]):
        ports, gone = {server.port for server in servers}, servers[0]
        first = await load.until(lambda placed: set(placed.values()) == ports)
        await load.more(50)
        load.sent.clear()
        gone.kill()
        await rig.ask(None, "/nowhere/x")  # after it, Envoy has seen the resets
        killed = asyncio.get_running_loop().time()
        await load.more(300)
    failed = [each for each in load.sent if each[2] != 200]
    assert all(began < killed and first[user] == gone.port for user, began, _, _ in failed)
    assert len(failed) <= sum(port == gone.port for port in first.values())
    assert {port for _, began, _, port in load.sent if began > killed} == ports - {gone.port}

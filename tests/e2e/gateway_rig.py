"""A gateway with a real Envoy, for tests: Looma, Basic Servers, and users that send requests."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from demo.basic_server import BasicServer
from demo.envoy import Bootstrap, Envoy, ext_authz_filter
from demo.gateway import bootstrap
from demo.looma import Looma, LoomaNode, start_looma
from demo.minting import sign
from demo.process import Process
from demo.stack import until_ready
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
    authz: int
    ops: str
    command: list[str]
    envoy: Envoy = field(init=False)
    session: aiohttp.ClientSession = field(init=False)
    servers: dict[int, BasicServer] = field(default_factory=dict)

    async def end(self) -> None:
        """End the sidecar and the Basic Servers."""
        await self.sidecar.stop()
        for server in self.servers.values():
            await server.stop()

    async def restart(self, number: signal.Signals) -> None:
        """End the sidecar by a signal, and start it again."""
        self.sidecar.signal(number)
        await self.sidecar.wait()
        self.sidecar = await Process.start("sidecar", self.command, self.directory)
        await until_ready(self.sidecar, self.ops)

    async def readyz(self) -> dict[str, Any]:
        """Return the components of /readyz."""
        async with self.session.get(f"{self.ops}/readyz") as answer:
            found: dict[str, Any] = (await answer.json())["components"]
            return found

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


def _config(directory: Path, authz: int, ops: int, looma: str) -> dict[str, Any]:
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


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    configure: Callable[[dict[str, Any]], None] = lambda _: None,
    routes: str = ROUTES,
    *,
    patient: bool = False,
) -> AsyncIterator[Rig]:
    """Start everything; ``configure`` changes the content of sidecar.yaml before.

    A ``patient`` Envoy lets a request wait longer for a sidecar than with its shipped settings.
    """
    looma = await start_looma(0, poll=1.0)
    authz, ops = free_port(), free_port()
    (directory / "routes.yaml").write_text(routes)
    path = directory / "sidecar.yaml"
    config = _config(directory, authz, ops, looma.url)
    configure(config)
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "sidecar", "serve", "--config", str(path)]
    url = f"http://127.0.0.1:{ops}"
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(looma.stop)
        sidecar = await Process.start("sidecar", command, directory)
        rig = Rig(directory, looma, sidecar, authz, url, command)
        stack.push_async_callback(rig.end)
        await until_ready(sidecar, url)
        loaded = bootstrap(directory / "envoy", authz)
        if patient:
            _give_time(loaded)
        rig.envoy = await Envoy.start(loaded, directory)
        stack.push_async_callback(rig.envoy.stop)
        rig.session = await stack.enter_async_context(aiohttp.ClientSession())
        yield rig


def _give_time(loaded: Bootstrap) -> None:
    """Let Envoy repeat a Check for longer: a sidecar starts slowly on a busy machine."""
    service = ext_authz_filter(loaded)["grpc_service"]
    service["timeout"] = "30s"
    service["retry_policy"]["num_retries"] = 1000


class Killable:
    """A Basic Server that can die: every connection is reset, also of requests in flight."""

    def __init__(self) -> None:
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()
        self._killed = False

    async def start(self) -> int:
        self._killed = False
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def kill(self) -> None:
        self._server.close()
        self._killed = True
        for writer in self.open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._killed:  # it was accepted shortly before
            writer.transport.abort()
            return
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

"""A gateway: its sidecar and its Envoy before several Basic Servers, which Looma knows."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from demo.basic_server import BasicServer
from demo.envoy import Bootstrap, Envoy, connection_manager
from demo.looma import Looma
from demo.minting import USERS
from demo.process import Process
from demo.stack import BOOTSTRAPS, until_ready
from demo.zervi import Zervi
from sidecar.documents.own_yaml import read

ROUTES = """\
api_gateway:
  routes:
    - {path: "/api/auth/*", target: zervi-auth-service, auth_required: false}
    - {path: "/api/services/*", target: "basic-server-*", permissions: ["service:access"]}
"""


class Gateway:
    """The running gateway; ``servers`` are the Basic Servers by name, ``ops`` is its address."""

    def __init__(
        self, looma: Looma, zervi: Zervi, envoy: Envoy, session: aiohttp.ClientSession, ops: str
    ) -> None:
        self.servers: dict[str, BasicServer] = {}
        self._ports: dict[str, int] = {}
        self._looma = looma
        self._zervi = zervi
        self._envoy = envoy
        self._session = session
        self.ops = ops

    @property
    def url(self) -> str:
        """Where clients send requests."""
        return self._envoy.url

    async def start(self, name: str, service: str = "") -> None:
        """Register a Basic Server; start it, on the port it had before, unless it runs.

        Without ``service`` it is the only instance of a service with its name.
        """
        port = self._ports.setdefault(name, free_port())
        if name not in self.servers:
            self.servers[name] = BasicServer()
            await self.servers[name].start(port)
        entry = {"service_id": name, "service_name": service or name, "port": port}
        registration = {**entry, "address": "127.0.0.1", "health_status": "healthy"}
        await self._call("POST", "/cluster/register", registration)
        await self.report(name, "healthy")

    async def report(self, name: str, health: str) -> None:
        """Send the heartbeat of a Basic Server's sidecar."""
        heartbeat = {"status": "active", "health_status": health, "ready": True}
        await self._call("POST", f"/cluster/heartbeat/{name}", heartbeat)

    async def kill(self, name: str) -> None:
        """End a Basic Server without a word to Looma."""
        await self.servers.pop(name).stop()

    async def leave(self, name: str) -> None:
        """Deregister a Basic Server, which still answers."""
        await self._call("DELETE", f"/cluster/deregister/{name}", None)

    async def stop(self) -> None:
        """Deregister and end every Basic Server."""
        for name in tuple(self.servers):
            await self.leave(name)
            await self.kill(name)

    async def assign(self, user: str, name: str) -> None:
        """Let Looma allocate a Basic Server to a user."""
        subject = USERS[user].user_id
        allocation = {"user_id": subject, "service_name": name, "service_id": name}
        await self._call("POST", "/cluster/allocations", allocation)

    async def ask(self, user: str) -> tuple[int, str]:
        """Send a request of a user; return the status, and the Basic Server that got it."""
        return await self.ask_with(self._zervi.token(user))

    async def ask_with(self, token: str) -> tuple[int, str]:
        """Send a request with a token, likewise."""
        for server in self.servers.values():
            server.received.clear()
        headers = {"Authorization": f"Bearer {token}"}
        async with self._session.get(f"{self.url}/api/services/x", headers=headers) as answer:
            await answer.read()
        served = [name for name, server in self.servers.items() if server.received]
        return answer.status, ", ".join(served)

    async def _call(self, method: str, path: str, body: Any) -> None:
        async with self._session.request(method, self._looma.url + path, json=body) as answer:
            answer.raise_for_status()


@asynccontextmanager
async def running(
    directory: Path, looma: Looma, zervi: Zervi, secret: bytes
) -> AsyncIterator[Gateway]:
    """Start the gateway's sidecar and Envoy on free ports. Files go to ``directory``."""
    authz, ops = free_port(), free_port()
    path = _write(directory, _config(directory, authz, ops, looma, zervi))
    async with AsyncExitStack() as stack:
        command = [sys.executable, "-m", "sidecar", "serve", "--config", str(path)]
        environment = {"ZERVI_JWT_SECRET": secret.decode()}
        sidecar = await Process.start("gateway", command, directory, environment)
        stack.push_async_callback(sidecar.stop)
        await until_ready(sidecar, f"http://127.0.0.1:{ops}")
        envoy = await Envoy.start(bootstrap(directory / "envoy", authz), directory)
        stack.push_async_callback(envoy.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        gateway = Gateway(looma, zervi, envoy, session, f"127.0.0.1:{ops}")
        stack.push_async_callback(gateway.stop)
        yield gateway


def _write(directory: Path, config: dict[str, Any]) -> Path:
    directory.mkdir()
    (directory / "routes.yaml").write_text(ROUTES)
    path = directory / "sidecar.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _config(directory: Path, authz: int, ops: int, looma: Looma, zervi: Zervi) -> dict[str, Any]:
    service = {"name": "gateway", "address": "127.0.0.1", "port": 10000}
    return {
        "listen": {"authz": f"127.0.0.1:{authz}", "ops": f"127.0.0.1:{ops}"},
        "zervi": {
            "issuers": [
                {
                    "issuer": "https://zervi.jobfirst.local",
                    "jwks_url": f"{zervi.url}/.well-known/jwks.json",
                    "audiences": ["jobfirst"],
                }
            ],
            "role_permissions": {"user": ["service:access"], "admin": ["service:access"]},
        },
        "policy": {"file": "routes.yaml"},
        "looma": {"url": looma.url, "service": service},
        "gateway": {
            "envoy_dir": str(directory / "envoy"),
            "allow_networks": ["127.0.0.0/8"],
            "services": {"zervi-auth-service": [zervi.url]},
            "unsafe_plaintext_targets": True,  # everything is on this machine
        },
    }


def bootstrap(files: Path, authz: int) -> Bootstrap:
    """Load envoy-gateway.yaml for a directory of files and a sidecar's port, on free ports."""
    loaded: Bootstrap = read(BOOTSTRAPS / "envoy-gateway.yaml")
    for listener in loaded["static_resources"]["listeners"]:
        listener["address"] = _loopback(free_port())
    for cluster in loaded["static_resources"]["clusters"]:
        if cluster["name"] == "authz":
            endpoints = cluster["load_assignment"]["endpoints"]
            endpoints[0]["lb_endpoints"][0]["endpoint"]["address"] = _loopback(authz)
    source = loaded["dynamic_resources"]["cds_config"]["path_config_source"]
    source["path"] = str(files / "clusters.json")
    rds = connection_manager(loaded)["rds"]
    rds["config_source"]["path_config_source"]["path"] = str(files / "routes.json")
    return loaded


def _loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        port: int = attempt.getsockname()[1]
        return port

"""A real Consul where this machine has the program: one server on loopback, with its data."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.deploy.programs import need
from tests.support.ports import free_port

MANAGEMENT = "1b6f6c3e-2f0e-4d3e-9d8e-5f6f0c1d2a3b"  # a token that may do everything; made up


class ConsulServer:
    """Its ``directory`` survives ``kill`` and goes with ``wipe``; with ``acls`` it denies."""

    def __init__(self, directory: Path, *, acls: bool = False) -> None:
        self.program = need("consul")
        self.directory = directory
        self.url = f"http://127.0.0.1:{free_port()}"
        self._acls = acls
        self._generation = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        settings: dict[str, Any] = {
            "server": True,
            "bootstrap_expect": 1,
            "node_name": "n1",
            "disable_host_node_id": True,
            "disable_update_check": True,
            "data_dir": str(self.directory / str(self._generation)),
            "bind_addr": "127.0.0.1",
            "advertise_addr": "127.0.0.1",
            "ports": {
                "http": int(self.url.rpartition(":")[2]),
                "server": free_port(),
                "serf_lan": free_port(),
                **dict.fromkeys(("dns", "grpc", "grpc_tls", "https", "serf_wan"), -1),
            },
            "connect": {"enabled": False},
            "performance": {"raft_multiplier": 1},
            "log_level": "warn",
        }
        if self._acls:
            settings["acl"] = {
                "enabled": True,
                "default_policy": "deny",
                "tokens": {"initial_management": MANAGEMENT, "agent": MANAGEMENT},
            }
        configuration = self.directory / "consul.json"
        configuration.write_text(json.dumps(settings))
        log = (self.directory / "log").open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                *(self.program, "agent", f"-config-file={configuration}"), stdout=log, stderr=log
            )
        async with asyncio.timeout(60):
            while not await self._serves():  # noqa: ASYNC110 -- it is another process
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it as a crash does, with its data left."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Let the next start find no data."""
        self._generation += 1

    async def put(self, path: str, body: Any = None) -> Any:
        """Send what another program would, and return the answer."""
        headers = {"X-Consul-Token": MANAGEMENT} if self._acls else {}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.put(self.url + path, json=body) as response,
        ):
            text = await response.text()
            assert response.status == 200, text
            return json.loads(text) if text else None

    async def add(self, name: str, number: int, **fields: Any) -> None:
        """Add a service without checks."""
        found = {"ID": f"{name}-{number}", "Name": name, "Address": f"10.0.0.{number}", "Port": 80}
        await self.put("/v1/agent/service/register", {**found, **fields})

    async def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self.directory / "log").read_text()
        headers = {"X-Consul-Token": MANAGEMENT} if self._acls else {}
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{self.url}/v1/health/node/n1") as response,
            ):
                return response.status == 200 and await response.json() != []
        return False


@contextlib.asynccontextmanager
async def consul_server(directory: Path, *, acls: bool = False) -> AsyncIterator[ConsulServer]:
    consul = ConsulServer(directory, acls=acls)
    try:
        await consul.start()
        yield consul
    finally:
        await consul.kill()

"""kill -9 of the console in each step of an environment, on both sides of the call.

The console is a real process with a file on disk; Zervi and Looma keep what they have done.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
import yaml

from demo.looma import Looma, start_looma
from demo.process import Process
from demo.stack import until_ready
from demo.zervi import Zervi, start_zervi
from tests.console.rig import BOB, ORIGIN, SECRET, entry
from tests.support.ports import free_port

CREATION = ("createUser", "allocate", "grant")
DELETION = ("revokeTokens", "withdraw", "release", "deleteUser")
SIDES: tuple[Literal["hang-before", "hang-after"], ...] = ("hang-before", "hang-after")


@dataclass
class Cluster:
    """Zervi, Looma, and a console that can be started again on the same file."""

    looma: Looma
    zervi: Zervi
    directory: Path
    url: str
    client: aiohttp.ClientSession

    @asynccontextmanager
    async def console(self) -> AsyncIterator[Process]:
        command = [sys.executable, "-m", "sidecar", "console", "--config", "console.yaml"]
        process = await Process.start("console", command, self.directory, cwd=self.directory)
        try:
            await until_ready(process, self.url, "/healthz")
            yield process
        finally:
            await process.stop()

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        async with self.client.request(method, self.url + path, json=body) as response:
            assert response.status < 300, await response.text()
            found: dict[str, Any] = await response.json()
            return found

    async def until(self, identifier: str, state: str) -> dict[str, Any]:
        """Return the environment in this state."""
        async with asyncio.timeout(20):
            while True:
                found = await self.call("GET", f"/api/environments/{identifier}")
                if found["state"] == state:
                    return found
                await asyncio.sleep(0.02)

    def hang(self, operation: str, side: Literal["hang-before", "hang-after"]) -> asyncio.Event:
        """Let the next call of an operation hang; return what is set while it does."""
        at_looma = operation in ("allocate", "release")
        failures = (self.looma if at_looma else self.zervi).environments.failures
        failures.fail(operation, [side])
        return failures.waiting

    def left(self) -> tuple[int, int, int, int]:
        """Return how many users, grants, allocations and entries of gateways there are."""
        users = self.zervi.environments
        allocated = self.looma.environments.allocated
        return len(users.users), len(users.grants), len(allocated), len(self.looma.allocations)


@pytest.fixture(name="cluster")
async def new_cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    looma, zervi = await start_looma(0), await start_zervi(0, SECRET, algorithm="ES256")
    port = free_port()
    config = {
        "console": {"origin": ORIGIN, "listen": f"127.0.0.1:{port}"},
        "looma": {"url": looma.url},
        "zervi": {"url": zervi.url},
        "environments": {"database": "environments.db"},
    }
    (tmp_path / "console.yaml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(headers={**BOB, "Origin": ORIGIN}) as client:
        node = entry(service_id="basic-1", service_name="basic-server")
        async with client.post(f"{looma.url}/cluster/register", json=node):
            pass
        yield Cluster(looma, zervi, tmp_path, url, client)
    await zervi.stop()
    await looma.stop()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("operation", CREATION)
async def test_a_creation_goes_on_after_a_kill(
    cluster: Cluster, operation: str, side: Literal["hang-before", "hang-after"]
) -> None:
    """Whether or not the call was done, there is one of everything in the end."""
    hangs = cluster.hang(operation, side)
    async with cluster.console() as console:
        created = await cluster.call("POST", "/api/environments", {"username": "carol"})
        await asyncio.wait_for(hangs.wait(), 20)
        console.signal(signal.SIGKILL)
        await console.wait()
    async with cluster.console():
        ready = await cluster.until(created["id"], "ready")
    assert cluster.left() == (1, 1, 1, 1)
    assert ready["service_id"] == "basic-1"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("operation", DELETION)
async def test_a_deletion_goes_on_after_a_kill(
    cluster: Cluster, operation: str, side: Literal["hang-before", "hang-after"]
) -> None:
    """And leaves nothing."""
    async with cluster.console() as console:
        created = await cluster.call("POST", "/api/environments", {"username": "carol"})
        await cluster.until(created["id"], "ready")
        hangs = cluster.hang(operation, side)
        await cluster.call("DELETE", f"/api/environments/{created['id']}")
        await asyncio.wait_for(hangs.wait(), 20)
        console.signal(signal.SIGKILL)
        await console.wait()
    async with cluster.console():
        deleted = await cluster.until(created["id"], "deleted")
    assert cluster.left() == (0, 0, 0, 0)
    assert deleted["user_id"] in cluster.zervi.console.revoked_before

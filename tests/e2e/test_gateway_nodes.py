"""A gateway before nodes that are real sidecars: one leaves, one dies, both under load."""

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from demo.process import Process
from demo.stack import until_ready
from tests.e2e.gateway_rig import SECRET, USERS, Killable, Load, Rig, running
from tests.support.ports import free_port
from tests.support.waiting import eventually


@dataclass
class Node:
    """A sidecar that reports a server, which stands for its Envoy and Basic Server."""

    name: str
    config: Path
    server: Killable
    sidecar: Process
    sockets: tempfile.TemporaryDirectory[str]  # a unix socket's path is short

    async def stop(self) -> None:
        """End everything."""
        self.server.kill()
        await self.sidecar.stop()
        self.sockets.cleanup()

    async def leave(self) -> None:
        """Run `zervi-sidecar leave`, as the pod's preStop hook does."""
        command = [sys.executable, "-m", "sidecar", "leave", "--config", str(self.config)]
        leaving = await Process.start("leave", command, self.config.parent)
        assert await leaving.wait() == 0, leaving.output()

    async def kill(self) -> None:
        """End everything without a word to Looma."""
        self.server.kill()
        self.sidecar.signal(signal.SIGKILL)
        await self.sidecar.wait()


async def _node(rig: Rig, number: int) -> Node:
    name = f"basic-server-{number}"
    directory = rig.directory / name
    directory.mkdir()
    (directory / "secret").write_bytes(SECRET)
    (directory / "routes.yaml").write_text("api_gateway: {routes: [{path: /api/*}]}\n")
    server, ops, sockets = Killable(), free_port(), tempfile.TemporaryDirectory()
    port = await server.start()
    config = {
        "listen": {
            "authz": f"127.0.0.1:{free_port()}",
            "ops": f"127.0.0.1:{ops}",
            "admin": f"unix:{sockets.name}/admin.sock",
        },
        "zervi": {"issuers": [{"issuer": "gw", "secret_file": "secret"}]},
        "policy": {"file": "routes.yaml"},
        "upstream": {
            "probe": {"url": f"tcp://127.0.0.1:{port}", "interval": "1s", "timeout": "1s"}
        },
        "looma": {
            "url": rig.looma.url,
            "service": {"name": name, "address": "127.0.0.1", "port": port},
            "heartbeat": "1s",
        },
        "drain": "1s",
    }
    path = directory / "sidecar.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "sidecar", "serve", "--config", str(path)]
    sidecar = await Process.start(name, command, directory)
    await until_ready(sidecar, f"http://127.0.0.1:{ops}")
    return Node(name, path, server, sidecar, sockets)


@contextlib.asynccontextmanager
async def nodes(rig: Rig) -> AsyncIterator[list[Node]]:
    found: list[Node] = []
    try:
        found.append(await _node(rig, 1))
        found.append(await _node(rig, 2))
        yield found
    finally:
        for node in found:
            await node.stop()
        await eventually(lambda: not any(node.server.open for node in found), "connections end")


async def test_under_load_a_node_that_leaves_loses_no_request_and_a_killed_one_those_in_flight(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as rig, nodes(rig) as (one, other):
        load = Load(rig)
        ports = {one.server.port, other.server.port}
        async with load.running(USERS[:12]):
            first = await load.until(lambda placed: set(placed.values()) == ports)
            load.sent.clear()
            await one.leave()
            await load.until(
                lambda placed: len(placed) == 12 and set(placed.values()) == {other.server.port}
            )
            await load.more(50)  # a request that was in flight has ended
            await one.kill()
            await load.more(200)
            assert [each for each in load.sent if each[2] != 200] == []

            third = await _node(rig, 3)
            try:
                both = {other.server.port, third.server.port}
                await load.until(lambda placed: set(placed.values()) == both)
                load.sent.clear()
                await load.more(100)  # the first of them moved before the last
                second = await load.until(lambda placed: len(placed) == 12)
                moved = {user for user in second if second[user] == third.server.port}
                load.sent.clear()
                await third.kill()
                await rig.ask(None, "/nowhere/x")  # after it, Envoy has seen the resets
                killed = asyncio.get_running_loop().time()
                await load.more(300)
            finally:
                await third.stop()
    assert set(first.values()) == ports
    failed = [each for each in load.sent if each[2] != 200]
    assert all(began < killed and user in moved for user, began, _, _ in failed)
    assert len(failed) <= len(moved)
    assert {port for _, began, _, port in load.sent if began > killed} == {other.server.port}

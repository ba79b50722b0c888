"""The gateway through a real Envoy: each user reaches an own Basic Server."""

import asyncio
import copy
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sidecar.config import load
from sidecar.workbench.doctor import Wanted, examine
from sidecar.workbench.gateway_files import gateway_files
from sidecar.workbench.touched import touched
from tests.e2e.gateway_rig import USERS, Load, Rig, running, started


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as rig:
        yield rig


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


@pytest.mark.parametrize("looma", ["runs", "is down"])
async def test_under_load_a_sidecar_that_restarts_fails_no_request(
    tmp_path: Path, looma: str
) -> None:
    """It is killed, and reads Looma before it listens; or it ends, and reads its snapshot file."""
    down = looma == "is down"

    def configure(config: dict[str, Any]) -> None:
        if down:
            config["gateway"]["snapshot_file"] = str(tmp_path / "directory.json")
            config["drain"] = "1s"

    async with running(tmp_path, configure, patient=True) as rig, started(rig) as servers:
        load, ports = Load(rig), {server.port for server in servers}
        async with load.running(USERS[:6]):
            first = await load.until(lambda placed: set(placed.values()) == ports)
            load.sent.clear()
            if down:
                await rig.looma.stop()
            await rig.restart(signal.SIGTERM if down else signal.SIGKILL)
            await load.more(200)
        if down:
            assert (await rig.readyz())["directory"]["state"] == "degraded"
    assert [each for each in load.sent if each[2] != 200] == []
    assert all(port == first[user] for user, _, _, port in load.sent)

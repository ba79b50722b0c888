"""The sidecar starts, restarts and ends, and no request is lost or passes without a Check."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from demo.process import Process
from demo.stack import Setup, Stack, start_sidecar, until_ready
from tests.e2e.conftest import ROUTES, StartStack, patience
from tests.support.http1 import send
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS_BETWEEN = 0.01  # of one client; a few of them make a steady load
CLIENTS = 4


class Load:
    """Clients that ask for one allowed and one denied path in turn, until they are stopped."""

    def __init__(self, stack: Stack) -> None:
        self._url = f"http://127.0.0.1:{stack.ports.envoy}"
        token = stack.zervi.token("alice", "unified-auth")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stop = asyncio.Event()
        self.answers: Counter[tuple[str, int]] = Counter()

    async def run(self) -> None:
        """Ask until stopped; an exception is a lost request."""
        async with aiohttp.ClientSession(self._url, headers=self._headers) as session:
            await asyncio.gather(*(self._client(session) for _ in range(CLIENTS)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            for path in ("/api/services/list", "/api/cluster/nodes"):
                async with session.get(path) as answer:
                    self.answers[path, answer.status] += 1
            try:
                async with asyncio.timeout(SECONDS_BETWEEN):
                    await self._stop.wait()
            except TimeoutError:
                continue

    async def more(self, count: int) -> None:
        """Wait until so many more answers came."""
        wanted = self.answers.total() + count
        await eventually(lambda: self.answers.total() >= wanted, f"{count} more answers")

    def stop(self) -> None:
        """Let the clients finish."""
        self._stop.set()

    @property
    def statuses(self) -> dict[str, set[int]]:
        """Every status that each path got."""
        seen: dict[str, set[int]] = {}
        for path, status in self.answers:
            seen.setdefault(path, set()).add(status)
        return seen


@asynccontextmanager
async def steady_load(stack: Stack) -> AsyncIterator[Load]:
    """Run a load around a test's steps."""
    load = Load(stack)
    running = asyncio.create_task(load.run())
    try:
        await load.more(20)
        yield load
    finally:
        load.stop()
        await running


async def successor_of(stack: Stack) -> Process:
    """Start another sidecar with the stack's configuration."""
    config = stack.directory / "sidecar.yaml"
    command = [sys.executable, "-m", "sidecar", "serve", "--config", str(config)]
    return await start_sidecar(command, stack.directory, stack.secret)


async def readiness(stack: Stack) -> tuple[int, dict[str, dict[str, str]]]:
    """Ask /readyz for its status and components."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{stack.ops_url}/readyz") as answer,
    ):
        return answer.status, (await answer.json())["components"]


async def policy_says(stack: Stack, text: str) -> None:
    """Wait until the policy's detail in /readyz holds a text."""
    last = ""
    async with asyncio.timeout(20):
        while text not in last:
            last = (await readiness(stack))[1]["policy"]["detail"]


async def test_a_restart_under_load_loses_no_request(start_stack: StartStack) -> None:
    """SIGTERM, then kill -9, each with a gap until the successor listens: the policy's answers."""
    setup = Setup(routes=ROUTES, ext_authz=patience())
    async with start_stack(setup) as stack:
        current = stack.sidecar
        async with steady_load(stack) as load:
            for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
                current.signal(number)
                assert await current.wait() == code
                current = await successor_of(stack)
                await until_ready(current, stack.ops_url)
                await load.more(50)
        await current.stop()
    assert load.statuses == {"/api/services/list": {200}, "/api/cluster/nodes": {403}}


async def test_sigterm_is_answered_while_envoy_drains(start_stack: StartStack) -> None:
    """Not serving and deregistered immediately; every request still gets the policy's answer."""
    setup = Setup(routes=ROUTES, configure=lambda config: config.update(drain="3s"))
    async with start_stack(setup) as stack, steady_load(stack) as load:
        await eventually(lambda: len(stack.looma.nodes) == 1, "the registration", within=30)
        stack.sidecar.signal(signal.SIGTERM)
        await eventually(
            lambda: "draining" in stack.sidecar.output(), "the sidecar says that it drains"
        )
        await eventually(lambda: not stack.looma.nodes, "it deregisters")
        assert stack.sidecar.returncode is None
        await load.more(20)
        load.stop()
        assert await stack.sidecar.wait() == 0
    assert load.statuses == {"/api/services/list": {200}, "/api/cluster/nodes": {403}}


async def test_a_changed_policy_is_taken_over_whole_and_a_bad_one_is_not(
    start_stack: StartStack,
) -> None:
    """Under load; SIGHUP reloads without a wait; an invalid file is reported with its line."""
    async with start_stack() as stack, steady_load(stack) as load:
        policy = stack.directory / "routes.yaml"
        first = (await readiness(stack))[1]["policy"]["detail"]
        for broken, message in (
            ("api_gateway: {routes: [{path: /x, permision: [a]}]}", "routes.yaml:1:"),
            ("", "routes.yaml:"),
            ('api_gateway:\n  routes:\n    - path: "/api', "routes.yaml:3:"),
            (None, "routes.yaml"),
        ):
            if broken is None:
                policy.unlink()
            else:
                policy.write_text(broken)
            stack.sidecar.signal(signal.SIGHUP)
            await policy_says(stack, message)
            status, components = await readiness(stack)
            assert status == 200
            assert components["policy"]["state"] == "degraded"
            assert "is kept" in components["policy"]["detail"]
        await load.more(20)
        load.stop()
        assert load.statuses == {"/api/services/list": {200}, "/api/cluster/nodes": {403}}
        # A symlink swap, as ConfigMaps do it, is noticed without a signal.
        fresh = stack.directory / "next.yaml"
        fresh.write_text(ROUTES.replace("cluster:manage", "service:access"))
        policy.symlink_to(fresh)
        await eventually(lambda: "is in force" in stack.sidecar.output(), "the new policy")
        assert (await readiness(stack))[1]["policy"]["detail"] != first
        token = ("Authorization", f"Bearer {stack.zervi.token('alice', 'unified-auth')}")
        assert (await send(stack.ports.envoy, "/api/cluster/nodes", token)).status == 200


async def test_policies_that_follow_each_other_under_load_fail_no_request(
    start_stack: StartStack,
) -> None:
    """Twenty of them: each answer is one that one of the two policies gives."""
    other = ROUTES.replace('["cluster:manage"]', '["service:access"]')
    assert other != ROUTES
    async with start_stack() as stack, steady_load(stack) as load:
        for count, text in enumerate((other, ROUTES) * 10, 1):
            fresh = stack.directory / "next.yaml"
            fresh.write_text(text)
            fresh.replace(stack.directory / "routes.yaml")
            stack.sidecar.signal(signal.SIGHUP)
            await eventually(
                lambda n=count: stack.sidecar.output().count("is in force (was") == n,  # type: ignore[misc]  # -- mypy types no default of a lambda
                "the next policy",
            )
            await load.more(10)
    assert load.statuses == {"/api/services/list": {200}, "/api/cluster/nodes": {200, 403}}


async def test_leaving_deregisters_and_goes_on_deciding(
    start_stack: StartStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For the sidecar's preStop hook: not ready, out of the registry, still answering."""
    admin = tmp_path_factory.mktemp("admin") / "admin.sock"

    def configure(config: dict[str, Any]) -> None:
        config["listen"]["admin"] = f"unix:{admin}"

    async with start_stack(Setup(routes=ROUTES, configure=configure)) as stack:
        await eventually(lambda: len(stack.looma.nodes) == 1, "the registration", within=30)
        config = str(stack.directory / "sidecar.yaml")
        command = [sys.executable, "-m", "sidecar", "leave", "--wait", "1ms", "--config", config]
        for _ in range(2):
            leaving = await Process.start("leave", command, stack.directory)
            assert await leaving.wait() == 0
            assert leaving.output() == "left the registry; not ready, but still deciding\n"
        assert not stack.looma.nodes
        assert (await readiness(stack))[0] == 503
        assert (await send(stack.ports.envoy, "/api/services/list")).status == 401


@pytest.mark.parametrize("authz", [None, "unix"])
async def test_a_second_sidecar_is_refused_and_the_first_unharmed(
    start_stack: StartStack, authz: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On the same port as on the same live socket, with a clear line and exit 1."""
    if authz:
        directory = tmp_path_factory.mktemp("socket")
        setup = Setup("envoy-uds.yaml", routes=ROUTES, authz=f"unix:{directory}/authz.sock")
    else:
        setup = Setup(routes=ROUTES)
    async with start_stack(setup) as stack:
        second = await successor_of(stack)
        assert await second.wait() == 1
        said = "another sidecar is serving on" if authz else "is already in use"
        assert "cannot start: listen.authz: " in second.output()
        assert said in second.output()
        assert "Traceback" not in second.output()
        assert (await send(stack.ports.envoy, "/api/services/list")).status == 401

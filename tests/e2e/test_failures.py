"""When something breaks, a real Envoy still lets nothing through unasked."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.stack import Setup, start_sidecar, until_ready
from tests.e2e.conftest import ROUTES, StartStack, patience
from tests.support.http1 import send

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAULTY = Path(__file__).with_name("faulty_serve.py")


async def test_a_fault_in_the_decision_is_a_denial_even_where_envoy_fails_open(
    start_stack: StartStack,
) -> None:
    setup = Setup(
        routes=ROUTES,
        serve=(sys.executable, str(FAULTY), "serve"),
        ext_authz={"failure_mode_allow": True},
    )
    async with start_stack(setup) as stack:
        for target in ("/api/auth/login", "/api/services/list"):
            answer = await send(stack.ports.envoy, target)
            assert answer.status == 503
            assert answer.json["reason"] == "internal"
            assert answer.headers["retry-after"]
        assert not stack.basic_server.received
        assert "a fault that a test injected" not in answer.body


async def test_killing_zervi_changes_nothing_for_tokens_of_known_keys(
    start_stack: StartStack,
) -> None:
    async with start_stack() as stack:
        known, other = (
            ("Authorization", f"Bearer {stack.zervi.token(name)}") for name in ("alice", "bob")
        )
        port = stack.ports.envoy
        assert (await send(port, "/api/services/list", known)).status == 200
        await stack.zervi.stop()
        assert (await send(port, "/api/services/list", known)).status == 200
        assert (await send(port, "/api/services/list", other)).status == 200  # not yet verified
        assert (await send(port, "/api/services/list")).status == 401


async def test_without_a_sidecar_the_answer_is_503(start_stack: StartStack) -> None:
    short: dict[str, Any] = {
        "grpc_service": {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "0.3s"}
    }
    async with start_stack(Setup(routes=ROUTES, ext_authz=short)) as stack:
        await stack.sidecar.stop()
        for target in ("/api/auth/login", "/api/services/list"):
            assert (await send(stack.ports.envoy, target)).status == 503
        assert not stack.basic_server.received


async def test_requests_wait_for_a_sidecar_that_was_killed_and_comes_back(
    start_stack: StartStack,
) -> None:
    async with start_stack(Setup(routes=ROUTES, ext_authz=patience())) as stack:
        port = stack.ports.envoy
        token = ("Authorization", f"Bearer {stack.zervi.token('alice', 'unified-auth')}")
        assert (await send(port, "/api/services/list", token)).status == 200
        stack.sidecar.signal(signal.SIGKILL)
        await stack.sidecar.wait()
        waiting = [
            asyncio.create_task(send(port, target, token))
            for target in ("/api/services/list", "/api/cluster/nodes") * 20
        ]
        config = stack.directory / "sidecar.yaml"
        command = [sys.executable, "-m", "sidecar", "serve", "--config", str(config)]
        successor = await start_sidecar(command, stack.directory, stack.secret)
        try:
            await until_ready(successor, stack.ops_url)
            answers = await asyncio.gather(*waiting)
        finally:
            await successor.stop()
        assert {answer.status for answer in answers[::2]} == {200}
        assert {answer.status for answer in answers[1::2]} == {403}

"""When something breaks, a real Envoy still lets nothing through unasked."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from demo.stack import Setup, start_sidecar, until_ready
from tests.e2e.conftest import ROUTES, StartStack, only_the_sidecar, patience
from tests.e2e.grpc_upstream import METHOD
from tests.support.http1 import send

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAULTY = Path(__file__).with_name("faulty_serve.py")


async def test_a_fault_in_the_decision_is_a_denial_even_where_envoy_fails_open(
    start_stack: StartStack,
) -> None:
    setup = Setup(
        routes=ROUTES,
        serve=(sys.executable, str(FAULTY), "serve"),
        manager=only_the_sidecar(),
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
            answer = await send(stack.ports.envoy, target)
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["cache-control"] == "no-store"
            body = answer.json
            assert body.pop("decision_id")
            assert body == {
                "error": "authorization unavailable",
                "code": "AUTH_UNAVAILABLE",
                "message": "authorization does not answer at the moment; try again",
                "reason": "not_ready",
            }
        async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.ports.envoy}") as channel:
            call = channel.unary_unary(
                METHOD, request_serializer=bytes, response_deserializer=bytes
            )
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"hello", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "AUTH_UNAVAILABLE" in (refused.value.details() or "")
        assert not stack.basic_server.received


async def test_without_a_basic_server_the_answer_says_so_and_a_denial_stays_a_denial(
    start_stack: StartStack,
) -> None:
    async with start_stack() as stack:
        await stack.basic_server.stop()
        answer = await send(stack.ports.envoy, "/api/auth/login")
        assert answer.status == 503
        assert (answer.json["code"], answer.json["reason"]) == ("SERVICE_UNAVAILABLE", None)
        denied = await send(stack.ports.envoy, "/api/services/list")
        assert denied.status == 401
        assert denied.json["reason"] == "token_missing"


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

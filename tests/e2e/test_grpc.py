"""A gRPC upstream behind a real Envoy: the client gets the reason as a gRPC status and message."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from demo import minting
from demo.stack import Stack
from tests.e2e.grpc_upstream import METHOD, GrpcUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.ports.envoy}") as channel:
        yield channel


async def _say(
    channel: grpc.aio.Channel, *metadata: tuple[str, str], method: str = METHOD
) -> bytes:
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    answer: bytes = await call(b"hello", metadata=metadata, timeout=10)
    return answer


async def _refused(
    channel: grpc.aio.Channel, *metadata: tuple[str, str], method: str = METHOD
) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _say(channel, *metadata, method=method)
    return refused.value


def _bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


async def test_an_allowed_call_arrives_with_identity(
    stack: Stack, upstream: GrpcUpstream, channel: grpc.aio.Channel
) -> None:
    token = _bearer(stack.zervi.token("alice"))
    assert await _say(channel, token, ("x-user-id", "4")) == b"hello"
    arrived = [value for name, value in upstream.calls[-1] if name == "x-user-id"]
    assert arrived == [str(minting.USERS["alice"].user_id)]


async def test_without_a_token_the_call_is_unauthenticated(channel: grpc.aio.Channel) -> None:
    error = await _refused(channel)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "AUTH_REQUIRED" in (error.details() or "")


async def test_without_the_permission_it_is_denied(stack: Stack, channel: grpc.aio.Channel) -> None:
    error = await _refused(channel, _bearer(stack.zervi.token("guest")))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "service:access" in (error.details() or "")


async def test_without_a_route_it_is_denied(channel: grpc.aio.Channel) -> None:
    error = await _refused(channel, method="/jobfirst.Other/Say")
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_an_ambiguous_path_is_an_invalid_argument(channel: grpc.aio.Channel) -> None:
    error = await _refused(channel, method="/jobfirst.Echo/Say;x")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_route_without_the_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    """A gRPC call is a POST, and /api/reports accepts only GET."""
    error = await _refused(channel, method="/api/reports/2026-11")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED

"""A WebSocket through a real Envoy: the handshake is a request like any other."""

import aiohttp
import pytest

from demo import minting
from demo.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_allowed_handshake_opens_a_socket_with_identity(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.zervi.token('alice')}", "X-User-Id": "4"}
    url = f"{stack.envoy.url}/api/services/live"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as ws:
        handshake = await ws.receive_json(timeout=10)
        arrived = [value for name, value in handshake["headers"] if name.lower() == "x-user-id"]
        assert arrived == [str(minting.USERS["alice"].user_id)]
        await ws.send_str("你好")
        assert await ws.receive_str(timeout=10) == "你好"


async def test_a_handshake_without_a_token_is_refused(stack: Stack) -> None:
    seen = len(stack.basic_server.received)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{stack.envoy.url}/api/services/live")
    assert refused.value.status == 401
    assert len(stack.basic_server.received) == seen

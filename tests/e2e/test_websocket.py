"""A WebSocket through a real Envoy: the handshake is a request like any other."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from demo import minting
from demo.envoy import ext_authz_filter
from demo.stack import BOOTSTRAPS, Setup, Stack
from sidecar.documents import own_yaml
from tests.e2e.conftest import ROUTES, StartStack
from tests.support.http1 import send

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


LIVE = "/api/services/live"
SITE = "https://app.example"


def _from_browsers(config: dict[str, Any]) -> None:
    config["zervi"]["token_sources"] = [
        {"header": "authorization", "scheme": "Bearer"},
        {"websocket_protocol": "bearer"},
        {"cookie": "session", "origins": [SITE]},
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browsed(start_stack: StartStack) -> AsyncIterator[Stack]:
    """Run a stack with every source that a browser can use for a WebSocket."""
    filters = own_yaml.read(BOOTSTRAPS / "envoy.yaml")
    rules = ext_authz_filter(filters)["decoder_header_mutation_rules"]
    rules["allow_expression"]["regex"] += "|sec-websocket-protocol"
    changed = {"decoder_header_mutation_rules": rules}
    setup = Setup(routes=ROUTES, configure=_from_browsers, ext_authz=changed)
    async with start_stack(setup) as made:
        yield made


@pytest.mark.parametrize(("before", "arrive"), [((), "bearer"), (("chat",), "chat, bearer")])
async def test_a_browser_sends_the_token_as_a_protocol_which_the_upstream_does_not_see(
    browsed: Stack, before: tuple[str, ...], arrive: str
) -> None:
    """The upstream chooses ``bearer``, as browsers insist on."""
    token = browsed.zervi.token("alice")
    protocols = (*before, "bearer", token)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{browsed.envoy.url}{LIVE}", protocols=protocols) as socket,
    ):
        handshake = await socket.receive_json(timeout=10)
        arrived = {name.lower(): value for name, value in handshake["headers"]}
        assert arrived["sec-websocket-protocol"] == arrive
        assert arrived["x-user-id"] == str(minting.USERS["alice"].user_id)
        assert token not in str(handshake)
        assert socket.protocol == "bearer"
        await socket.send_str("你好")
        assert await socket.receive_str(timeout=10) == "你好"


async def test_a_page_of_another_site_opens_no_websocket_with_the_users_cookie(
    browsed: Stack,
) -> None:
    """Browsers send the cookie, and the page's origin, which pages cannot change."""
    cookie = {"Cookie": f"session={browsed.zervi.token('alice')}"}
    url = f"{browsed.envoy.url}{LIVE}"
    async with aiohttp.ClientSession() as session:
        own = session.ws_connect(url, headers=cookie, origin=SITE)
        async with own as socket:
            assert await socket.receive_json(timeout=10)
        for origin in (None, "https://evil.example", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(url, headers=cookie, origin=origin)
            assert refused.value.status == 401


async def test_a_form_of_another_site_is_refused_though_it_has_the_users_cookie(
    browsed: Stack,
) -> None:
    """POST is refused, GET is not: its answer stays unreadable to other sites."""
    port, cookie = browsed.ports.envoy, f"Cookie: session={browsed.zervi.token('alice')}".encode()
    for site, status in ((b"cross-site", 401), (b"same-site", 401), (b"same-origin", 200)):
        fetched = b"Sec-Fetch-Site: " + site
        told = await send(port, LIVE, cookie, fetched, method="POST")
        assert told.status == status
        assert (await send(port, LIVE, cookie, fetched)).status == 200

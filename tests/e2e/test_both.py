"""Through a real Envoy: a route that requires a user's token and a service's together."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from demo import minting
from demo.stack import Setup, Stack
from tests.e2e.conftest import ROUTES, StartStack
from tests.support.http1 import Answer, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOTH = """
    - path: "/api/both/*"
      principals: both
      permissions: ["profile:read"]
"""


def _two_sources(config: dict[str, Any]) -> None:
    config["zervi"]["service_token_sources"] = [{"header": "x-service-token"}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gatewayed(start_stack: StartStack) -> AsyncIterator[Stack]:
    """Run a stack whose gateway sends its own token beside the user's."""
    async with start_stack(Setup(routes=ROUTES + BOTH, configure=_two_sources)) as made:
        yield made


async def _ask(stack: Stack, user: str | None, service: str | None, path: str = "a") -> Answer:
    headers = [b"X-Service-Id: spoofed", b"X-User-Id: 4"]
    if user is not None:
        headers.append(f"Authorization: Bearer {user}".encode())
    if service is not None:
        headers.append(f"X-Service-Token: {service}".encode())
    return await send(stack.ports.envoy, f"/api/both/{path}", *headers)


async def test_the_upstream_gets_the_user_and_the_service_and_not_the_service_s_token(
    gatewayed: Stack,
) -> None:
    """Both tokens are those that the stand-in for Zervi issues today."""
    user = gatewayed.zervi.token("alice")
    service = gatewayed.zervi.service_token("gateway")
    for _ in range(3):
        answer = await _ask(gatewayed, user, service)
        assert answer.status == 200, answer.body
        assert answer.arrived("x-user-id") == [str(minting.USERS["alice"].user_id)]
        assert answer.arrived("x-service-id") == ["gateway"]
        assert answer.arrived("x-service-token") == []


async def test_neither_token_is_enough(gatewayed: Stack) -> None:
    user = gatewayed.zervi.token("alice")
    service = gatewayed.zervi.service_token("gateway")
    for pair, status in (
        ((None, None), 401),
        ((user, None), 401),
        ((None, service), 401),
        ((user, "x"), 401),
        ((user, user), 403),
        ((service, service), 403),
        ((gatewayed.zervi.token("guest"), service), 403),
    ):
        assert (await _ask(gatewayed, *pair)).status == status

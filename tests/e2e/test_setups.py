"""Other ways to set it up: JobFirst's own table unchanged, a unix socket, a mistake."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.stack import Setup
from tests.e2e.conftest import ROUTES, StartStack
from tests.support.http1 import send
from tests.support.jobfirst import SEED

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_jobfirsts_own_table_decides_as_it_reads(start_stack: StartStack) -> None:
    async with start_stack(Setup(routes=SEED)) as stack:
        wanted = {
            ("/api/auth/login", None): 200,
            ("/api/auth", None): 403,
            ("/api/cluster/nodes", None): 401,
            ("/api/cluster/nodes", "alice"): 403,
            ("/api/cluster/nodes", "bob"): 200,
            ("/api/cluster/nodes", "root"): 200,
            ("/api/services/list", None): 401,
            ("/api/services/list", "guest"): 403,
            ("/api/services/list", "alice"): 200,
            ("/api/other", "root"): 403,
        }
        got = {}
        for target, name in wanted:
            token = [("Authorization", f"Bearer {stack.zervi.token(name)}")] if name else []
            got[target, name] = (await send(stack.ports.envoy, target, *token)).status
        assert got == wanted


async def test_the_unix_socket_variant_decides_the_same(
    start_stack: StartStack, tmp_path: Path
) -> None:
    socket = tmp_path / "authz.sock"
    setup = Setup(bootstrap="envoy-uds.yaml", routes=ROUTES, authz=f"unix:{socket}")
    async with start_stack(setup) as stack:
        assert socket.is_socket()
        token = ("Authorization", f"Bearer {stack.zervi.token('alice')}")
        assert (await send(stack.ports.envoy, "/api/services/list", token)).status == 200
        assert (await send(stack.ports.envoy, "/api/services/list")).status == 401
    assert not socket.exists()


async def test_an_identity_header_that_envoys_rules_lack_lets_nothing_through(
    start_stack: StartStack,
) -> None:
    """Else the sidecar's removal would be ignored and the client's own copy would pass."""

    def rename(config: dict[str, Any]) -> None:
        config["policy"]["identity_headers"] = {"subject": "x-caller"}

    async with start_stack(Setup(routes=ROUTES, configure=rename)) as stack:
        token = ("Authorization", f"Bearer {stack.zervi.token('alice')}")
        for target in ("/api/auth/login", "/api/services/list"):
            answer = await send(stack.ports.envoy, target, token, ("X-Caller", "4"))
            assert answer.status == 500
        assert not stack.basic_server.received

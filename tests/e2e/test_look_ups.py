"""Permissions and verdicts from Zervi, through a real Envoy: what is asked, and what then opens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from demo import minting
from demo.ports import Ports
from demo.stack import Setup, Stack, running
from demo.zervi_live import FAULTS, Fault
from tests.e2e.conftest import ROUTES
from tests.support.http1 import send
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

NODES, LIST = "/api/cluster/nodes", "/api/services/list"
DENIED, NOT_READY, REVOKED = "403 permission_denied", "503 not_ready", "401 token_revoked"

ALICE = str(minting.USERS["alice"].user_id)

_next_user = iter(range(100, 1000))


def looking_up(kind: str) -> Callable[[dict[str, Any]], None]:
    """Return a change of the configuration: permissions are missing, opaque tokens are known."""

    def change(config: dict[str, Any]) -> None:
        zervi = config["zervi"]
        base = zervi["issuers"][0]["jwks_url"].removesuffix("/.well-known/jwks.json")
        path = "/oauth/introspect" if kind == "rfc7662" else "/api/v1/auth/validate"
        zervi["issuers"][0]["introspection"] = {
            "kind": kind,
            "url": base + path,
            "match": {"prefix": "zat_", "characters": "A-Za-z0-9_-"},
            "ttl": "1s",
            "max_stale": "3s",
        }
        zervi["permissions"] = {
            "url": base + "/api/users/{subject}/permissions",
            "ttl": "1s",
            "max_stale": "3s",
            "wait": "700ms",
        }
        zervi["role_permissions"] = {}

    return change


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["rfc7662", "zervi"])
async def asking(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """Run a stack for each kind; transports pass the same bytes, so one of them is enough."""
    ports = Ports(*(free_port() for _ in Ports._fields))
    setup = Setup(routes=ROUTES, configure=looking_up(request.param))
    async with running(ports, tmp_path_factory.mktemp("stack"), setup) as stack:
        yield stack


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def working(asking: Stack) -> None:
    """Begin each test with a Zervi that works, and that the sidecar asks again after a failure."""
    live = asking.zervi.live
    asking.zervi.down = False
    live.fault = None
    live.disabled.clear()
    _, token = user(asking, "service:access")
    await becomes(asking, "", LIST, token)
    live.permissions[ALICE] = ["service:access"]
    await becomes(asking, "", LIST, bearer(live.opaque_token("alice")))


def user(stack: Stack, *permissions: str) -> tuple[str, tuple[str, str]]:
    """Return a new user's id, and the header with a token that lists no permissions."""
    number = next(_next_user)
    stack.zervi.live.permissions[str(number)] = list(permissions)
    claims = {**minting.user_claims("alice"), "user_id": number, "sub": str(number)}
    claims["permissions"] = None
    token = minting.sign(claims, stack.zervi.keys[-1])
    return str(number), bearer(token)


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


async def reason(stack: Stack, target: str, *headers: tuple[str, str]) -> str:
    """Send a request; return why it was denied, empty if it was allowed."""
    stack.basic_server.received.clear()  # it keeps only the last ones
    answer = await send(stack.ports.envoy, target, *headers)
    assert len(stack.basic_server.received) == (answer.status == 200)
    return "" if answer.status == 200 else f"{answer.status} {answer.json['reason']}"


async def test_missing_permissions_are_asked_for_and_open_what_they_permit(asking: Stack) -> None:
    """The Basic Server sees them; on a repetition, Zervi is not asked again."""
    number, token = user(asking, "service:access")
    assert await reason(asking, LIST, token) == ""
    seen = asking.basic_server.received[-1]
    assert seen.values("x-user-permissions") == ["service:access"]
    asked = asking.zervi.live.asked
    assert await reason(asking, NODES, token) == DENIED
    assert asked.count(f"/api/users/{number}/permissions") == 1


async def becomes(stack: Stack, wanted: str, target: str, token: tuple[str, str]) -> set[str]:
    """Repeat a request until its reason is the wanted one; return all that came."""
    seen: set[str] = set()
    async with asyncio.timeout(20):
        while wanted not in seen:
            seen.add(await reason(stack, target, token))
    return seen


async def test_a_role_that_is_granted_works_within_ttl(asking: Stack) -> None:
    number, token = user(asking)
    assert await reason(asking, NODES, token) == DENIED
    asking.zervi.live.permissions[number] = ["cluster:manage"]
    assert await becomes(asking, "", NODES, token) <= {DENIED, ""}


async def test_when_zervi_dies_what_is_open_stays_open_until_max_stale(asking: Stack) -> None:
    """And nothing opens that was not: a user without a known answer gets 503."""
    _, known = user(asking, "service:access")
    _, unknown = user(asking, "service:access")
    assert await reason(asking, LIST, known) == ""
    asking.zervi.down = True
    assert await reason(asking, LIST, unknown) == NOT_READY
    assert await reason(asking, NODES, known) == DENIED
    assert await becomes(asking, NOT_READY, LIST, known) == {"", NOT_READY}
    asking.zervi.down = False
    assert await becomes(asking, "", LIST, known) == {NOT_READY, ""}


async def test_an_opaque_token_works_until_zervi_says_otherwise(asking: Stack) -> None:
    live = asking.zervi.live
    opaque = live.opaque_token("alice")
    token = bearer(opaque)
    assert await reason(asking, LIST, token) == ""
    assert asking.basic_server.received[-1].values("x-user-id") == [ALICE]
    live.revoke(opaque)
    assert await becomes(asking, REVOKED, LIST, token) <= {"", REVOKED}
    asking.zervi.down = True
    assert await reason(asking, LIST, bearer(live.opaque_token("alice"))) == NOT_READY
    assert await reason(asking, LIST, bearer("invented")) == "401 token_malformed"


async def test_when_zervi_dies_an_open_opaque_token_stays_open_until_max_stale(
    asking: Stack,
) -> None:
    token = bearer(asking.zervi.live.opaque_token("alice"))
    assert await reason(asking, LIST, token) == ""
    asking.zervi.down = True
    async with asyncio.timeout(20):
        while asking.sidecar.output().count("introspection:") == 0:
            assert await reason(asking, LIST, token) == ""
    assert await reason(asking, LIST, token) == ""
    assert await becomes(asking, NOT_READY, LIST, token) == {"", NOT_READY}


async def test_a_disabled_user_has_neither_token_nor_permissions(asking: Stack) -> None:
    live = asking.zervi.live
    number, token = user(asking, "service:access")
    live.disabled |= {number, str(minting.USERS["bob"].user_id)}
    assert await reason(asking, LIST, token) == DENIED
    assert await reason(asking, LIST, bearer(live.opaque_token("bob"))) == REVOKED


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_of_an_answer_opens_anything(asking: Stack, fault: Fault) -> None:
    """Though each of these answers mentions every permission, where it can."""
    live = asking.zervi.live
    _, token = user(asking, "service:access")
    opaque = bearer(live.opaque_token("root"))
    live.fault = fault
    none = fault in ("missing", "unsuccessful")
    assert await reason(asking, NODES, token) == (DENIED if none else NOT_READY)
    expected = {"unsuccessful": REVOKED, "other_user": "401 token_audience"}.get(fault, NOT_READY)
    assert await reason(asking, "/api/reports/2026", opaque) == expected


async def test_the_log_and_the_metrics_say_what_happened(asking: Stack) -> None:
    """Each failure has its cause and an advice; no token and no permission is in the log."""
    log = asking.sidecar.output()
    assert "permissions: no answer from http://" in log
    assert "zat_" not in log
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{asking.ops_url}/metrics") as answer,
    ):
        text = await answer.text()
    for result in ("answered", "none", "failed"):
        assert f'zervi_sidecar_look_ups_total{{result="{result}",source="permissions"}}' in text

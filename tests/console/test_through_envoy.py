"""The console's own four files, through a real Envoy and sidecar: who may see and change what."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio

from demo import minting
from demo.console import RunningConsole, running
from demo.looma import start_looma
from demo.zervi import Zervi, start_zervi
from tests.console.test_events import event
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

World = tuple[RunningConsole, Zervi, aiohttp.ClientSession]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    looma = await start_looma(0)
    zervi = await start_zervi(0, b"0123456789abcdef0123456789abcdef")
    directory = tmp_path_factory.mktemp("console")
    try:
        async with (
            running(directory, looma=looma.url, zervi=zervi.url) as console,
            aiohttp.ClientSession() as client,
        ):
            yield console, zervi, client
    finally:
        await zervi.stop()
        await looma.stop()


async def ask(
    world: World, user: str, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """Send a request with the cookie of a user ("" for none), as a browser would."""
    console, zervi, client = world
    sent = {"Origin": console.url} if method != "GET" else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    if user:
        sent["Cookie"] = f"__Host-zervi={zervi.token(user)}"
    given = {name: value for name, value in sent.items() if value}
    async with client.request(method, console.url + path, json=body, headers=given) as answer:
        json_ = answer.content_type == "application/json"
        return answer.status, await (answer.json() if json_ else answer.text())


SEEN = (
    "/api/overview",
    "/api/services",
    "/api/nodes",
    "/api/policies",
    "/api/users/2",
    "/api/users/2/metrics",
    "/api/environments",
    "/view/overview",
    "/view/nodes",
    "/view/environments",
)


@pytest.mark.parametrize("path", SEEN)
async def test_bob_sees_everything_alice_nothing_and_a_stranger_is_unknown(
    world: World, path: str
) -> None:
    assert (await ask(world, "bob", "GET", path))[0] == 200
    status, body = await ask(world, "alice", "GET", path)
    assert (status, body["reason"]) == (403, "permission_denied")
    assert body["message"] == "needs permission cluster:view or cluster:manage"
    status, body = await ask(world, "", "GET", path)
    assert (status, body["reason"]) == (401, "token_missing")


async def test_the_reason_is_chinese_where_the_viewer_reads_it(world: World) -> None:
    _, body = await ask(world, "alice", "GET", "/api/overview", Accept_Language="zh-CN")
    assert "权限" in body["message"]


@pytest.mark.parametrize(
    "path", ["/", "/services", "/nodes", "/nodes/x", "/users/7", "/policies/x", "/environments"]
)
async def test_pages_without_data_are_public(world: World, path: str) -> None:
    status, text = await ask(world, "", "GET", path)
    assert status == 200
    assert 'id="view"' in text


CHANGES = (
    ("POST", "/api/users/2/logout"),
    ("POST", "/api/environments"),
    ("DELETE", "/api/environments/x"),
)


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_a_change_needs_the_permission_and_the_origin(
    world: World, method: str, path: str
) -> None:
    status, body = await ask(world, "alice", method, path, {})
    assert (status, body["reason"]) == (403, "permission_denied")
    # A page of another site: the sidecar does not count the cookie.
    foreign = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    status, body = await ask(world, "bob", method, path, {}, **foreign)
    assert (status, body["reason"]) == (401, "token_missing")
    # A program with a token in a header has no cookie, and still needs the origin.
    token = world[1].token("bob")
    given = {"Authorization": f"Bearer {token}"}
    status, body = await ask(world, "", method, path, {}, Origin="", **given)
    assert (status, body["code"]) == (403, "WRONG_ORIGIN")


async def test_bob_logs_alice_out(world: World) -> None:
    status, body = await ask(world, "bob", "POST", "/api/users/2/logout", {})
    assert (status, body) == (200, {"logged_out": True})
    written = world[0].console.stdout
    await eventually(lambda: '"audit": "user.logout"' in written.read_text(), "the audit line")
    assert '"username": "bob"' in written.read_text()


async def test_a_login_through_envoy_is_a_session(world: World) -> None:
    console, _, client = world
    login = {"username": "bob", "password": "bob-made-up"}
    url, headers = f"{console.url}/session", {"Origin": console.url}
    async with client.post(url, json=login, headers=headers) as answer:
        assert answer.status == 200
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
    path = f"{console.url}/api/me"
    async with client.get(path, headers={"Cookie": cookie}) as answer:
        assert (await answer.json())["username"] == "bob"


async def test_identity_headers_of_a_client_are_removed(world: World) -> None:
    """Otherwise a client could be anyone: the console believes them."""
    for name in ("x-user-id", "X_User_Id", "x-service-id", "x-user-permissions"):
        status, _ = await ask(world, "", "GET", "/api/overview", **{name: "3"})
        assert status == 401, name
    _, me = await ask(world, "bob", "GET", "/api/me", **{"x-user-id": "1", "x-username": "root"})
    assert (me["subject"], me["username"]) == ("3", "bob")


async def test_a_session_that_has_expired_ends(world: World) -> None:
    console, zervi, client = world
    claims = minting.expired(jwt.decode(zervi.token("bob"), options={"verify_signature": False}))
    cookie = f"__Host-zervi={minting.sign(claims, zervi.keys[-1])}"
    async with client.get(f"{console.url}/api/events", headers={"Cookie": cookie}) as answer:
        assert answer.status == 401
        assert (await answer.json())["reason"] == "token_expired"


async def test_events_flow_through_envoy(world: World) -> None:
    console, zervi, client = world
    headers = {"Cookie": f"__Host-zervi={zervi.token('bob')}"}
    async with client.get(f"{console.url}/api/events", headers=headers) as stream:
        assert (await event(stream))["cluster_overview"]["registry"]["state"] == "ok"


async def test_what_the_table_does_not_name_is_denied(world: World) -> None:
    for path in ("/admin", "/healthz", "/api", "/static"):
        status, body = await ask(world, "bob", "GET", path)
        assert (status, body["reason"]) == (403, "no_route")
    status, body = await ask(world, "bob", "PATCH", "/api/overview", {})
    assert (status, body["reason"]) == (405, "method_not_allowed")

"""A login at Zervi becomes a cookie that the sidecar reads, and nothing else happens to it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo.zervi import Zervi
from sidecar.console.remote import MAX_CALLS
from sidecar.console.session import MAX_LOGINS
from tests.console.rig import Console, running, whole


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Console, Zervi]]:
    async with whole(tmp_path) as (console, _, zervi):
        yield console, zervi


async def test_a_login_sets_the_cookie_with_every_attribute(both: tuple[Console, Zervi]) -> None:
    console, _ = both
    login = {"username": "bob", "password": "bob-made-up"}
    status, body, headers = await console.send("POST", "/session", login)
    assert (status, body) == (200, {"signed_in": True})
    cookie, *attributes = headers["Set-Cookie"].split("; ")
    assert cookie.startswith("__Host-zervi=ey")
    assert sorted(attributes) == [
        "HttpOnly",
        "Max-Age=604800",
        "Path=/",
        "SameSite=Strict",
        "Secure",
    ]
    assert console.audit[-1]["audit"] == "session.create"
    assert (console.audit[-1]["on"], console.audit[-1]["result"]) == ("bob", "done")
    assert "made-up" not in str(console.audit)


async def test_signing_out_removes_the_cookie(both: tuple[Console, Zervi]) -> None:
    _, _, headers = await both[0].send("DELETE", "/session")
    assert headers["Set-Cookie"].startswith('__Host-zervi=""; HttpOnly; Max-Age=0; Path=/')


@pytest.mark.parametrize(
    ("login", "status"),
    [
        ({"username": "bob", "password": "wrong"}, 401),
        ({"username": "\u202e<b>", "password": "x"}, 401),
        ({"username": "bob"}, 400),
        ({"username": "", "password": "x"}, 400),
        ({"username": ["bob"], "password": {"$ne": ""}}, 400),
        ({"username": "x" * 257, "password": "x"}, 400),
        ([], 400),
        ("bob", 400),
    ],
)
async def test_an_invalid_login_sets_none(
    both: tuple[Console, Zervi], login: object, status: int
) -> None:
    found, body, headers = await both[0].send("POST", "/session", login)
    assert found == status
    assert "Set-Cookie" not in headers
    assert body["error"].isprintable()


async def test_only_json_is_read(both: tuple[Console, Zervi]) -> None:
    """A form of another site can send text/plain without a preflight."""
    console, _ = both
    headers = {"Origin": "https://console.example", "Content-Type": "text/plain"}
    content = b'{"username": "bob", "password": "bob-made-up"}'
    async with console.client.post(f"{console.url}/session", data=content, headers=headers) as it:
        assert it.status == 415
        assert "Set-Cookie" not in it.headers


async def test_a_zervi_that_is_down_is_not_a_wrong_password(both: tuple[Console, Zervi]) -> None:
    console, zervi = both
    zervi.down = True
    login = {"username": "bob", "password": "bob-made-up"}
    status, body, _ = await console.send("POST", "/session", login)
    assert (status, body["code"]) == (502, "UNAVAILABLE")


async def test_logins_leave_calls_for_those_who_are_signed_in(tmp_path: Path) -> None:
    """Everybody can send logins, and each waits for a slow Zervi."""
    begun: list[str] = []
    everybody, enough = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        begun.append(request.path)
        if len(begun) == MAX_LOGINS:
            enough.set()
        await everybody.wait()
        return web.json_response({"success": False}, status=401)

    app = web.Application()
    app.router.add_post("/api/v1/auth/login", slow)
    async with (
        TestServer(app) as zervi,
        running(tmp_path, "http://127.0.0.1:9", str(zervi.make_url(""))) as console,
    ):
        given = {"username": "a", "password": "b"}
        first = [
            asyncio.create_task(console.send("POST", "/session", given)) for _ in range(MAX_LOGINS)
        ]
        await enough.wait()
        status, body, _ = await console.send("POST", "/session", given)
        assert (status, body["code"]) == (503, "TOO_MANY_LOGINS")
        assert len(begun) == MAX_LOGINS < MAX_CALLS / 2
        everybody.set()
        assert [status for status, _, _ in await asyncio.gather(*first)] == [401] * MAX_LOGINS
        assert (await console.send("POST", "/session", given))[0] == 401


async def test_a_token_that_would_break_the_cookie_is_refused(tmp_path: Path) -> None:
    """A Zervi that lies cannot set other attributes or a second cookie."""
    tokens = ["x; Domain=example", "a,b", "x\r\nSet-Cookie: y=z", "", "é", "x" * 9000]

    async def login(_request: web.Request) -> web.Response:
        return web.json_response({"code": 0, "data": {"token": tokens[0]}})

    app = web.Application()
    app.router.add_post("/api/v1/auth/login", login)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with running(tmp_path, "http://127.0.0.1:9", url) as console:
            given = {"username": "a", "password": "b"}
            while tokens:
                status, _, headers = await console.send("POST", "/session", given)
                assert status == 502
                assert "Set-Cookie" not in headers
                tokens.pop(0)
    finally:
        await runner.cleanup()

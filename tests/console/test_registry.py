"""A registry that is slow, lies or is down: the last listing stays, and its state is shown."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.console import shared
from sidecar.console.fleet import registry as reading
from sidecar.console.fleet.registry import Registry
from sidecar.console.remote import Remote, RemoteError
from sidecar.console.shared import Shared
from tests.console.rig import entry, hostile_entry, running
from tests.support.waiting import eventually

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve every path with a handler; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(body: Any, status: int = 200, **headers: str) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=content, status=status, headers=headers)

    return handler


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>", 200),
        (b"", 200),
        (b"[" * 100_000, 200),
        ([], 200),
        ({"services": "all"}, 200),
        ({"services": {}}, 200),
        ({"services": []}, 500),
        ({"services": []}, 302),
        (b'{"services": [' + b"9" * 5000 + b"]}", 200),
    ],
)
async def test_an_unusable_listing_is_an_error(body: Any, status: int) -> None:
    async with serving(answering(body, status)) as url:
        with pytest.raises(RemoteError):
            await Registry(Remote("the registry"), url).fleet()


async def test_a_listing_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_LISTING_BYTES", 1000)
    async with serving(answering(b" " * 1001)) as url:
        with pytest.raises(RemoteError, match="longer than"):
            await Registry(Remote("the registry"), url).fleet()


async def test_a_slow_registry_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LISTING_SECONDS", 0.1)

    async def slow(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(slow) as url:
        with pytest.raises(RemoteError, match="did not answer within"):
            await Registry(Remote("the registry"), url).fleet()


async def test_an_unchanged_listing_is_not_read_again() -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        if asked[-1]:
            return web.Response(status=304)
        return web.json_response({"services": [entry(1)]}, headers={"ETag": '"a"'})

    async with serving(handler) as url:
        registry = Registry(Remote("the registry"), url)
        first = await registry.fleet()
        assert await registry.fleet() is first
        assert asked == [None, '"a"']


async def test_hostile_nodes_are_shown_and_none_gets_into_the_page(tmp_path: Path) -> None:
    """Every text of a node is HTML, changes the direction of text, or is far too long."""
    entries = [hostile_entry(number) for number in range(120)]
    async with (
        serving(answering({"services": entries})) as looma,
        running(tmp_path, looma, "http://127.0.0.1:9") as console,
    ):
        overview = (await console.get("/api/overview"))[1]
        assert overview["cluster_overview"]["nodes"] == 120
        ids = [node["id"] for node in (await console.get("/api/nodes?size=200"))[1]["nodes"]]
        assert len(set(ids)) == 120
        for path in ("/view/overview", "/view/services", "/view/nodes?size=200"):
            check(*await console.get(path))
        for id_ in ids[:11]:
            check(*await console.get(f"/view/nodes/{id_}"))


def check(status: int, text: Any) -> None:
    assert status == 200
    assert "<script" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert len(text) < 400_000


async def test_an_overview_without_registry_and_zervi_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9") as console:
        status, overview = await console.get("/api/overview")
        assert status == 200
        assert overview["cluster_overview"]["registry"]["state"] == "down"
        assert overview["auth_statistics"]["zervi_error"]
        alerts = [each["code"] for each in overview["cluster_overview"]["alerts"]]
        assert alerts == ["registry_down", "zervi_services_down"]
        status, services = await console.get("/api/services")
        assert (status, services["total_services"]) == (200, 1)
        for path in ("/view/overview", "/view/services", "/view/policies"):
            assert (await console.get(path))[0] == 200
        for path in ("/api/nodes", "/api/nodes/x", "/view/nodes"):  # not: there are none
            status, body = await console.get(path)
            assert (status, body["code"]) == (502, "UNAVAILABLE")


async def test_a_slow_query_shows_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer waits for a slow server only briefly if there is an answer from before."""
    monkeypatch.setattr(shared, "PATIENCE", 0.01)
    slow = asyncio.Event()
    answers = iter([1, 2])

    async def query() -> int:
        answer = next(answers)
        if answer == 2:
            await slow.wait()
        return answer

    known = Shared("a server", query, 0.0)
    assert (await known.get()).value == 1
    assert (await known.get()).value == 1
    slow.set()
    await eventually(lambda: known.known.value == 2, "the new answer")
    await known.close()


async def test_a_failed_query_keeps_the_last_answer_and_waits() -> None:
    now = [0.0]
    fail = [False]

    async def query() -> str:
        if fail[0]:
            raise RemoteError("down")
        return "answer"

    known = Shared("a server", query, 10.0, lambda: now[0])
    assert (await known.get()).value == "answer"
    fail[0], now[0] = True, 11.0
    first = await known.get()
    assert (first.value, first.error, first.age(now[0])) == ("answer", "down", 11.0)
    for _ in range(50):
        await known.get()
    assert known.queries == 2  # a server that is down is not asked more often
    fail[0], now[0] = False, 22.0
    assert (await known.get()).error == ""


async def test_an_error_in_reading_does_not_stop_the_console() -> None:
    async def query() -> str:
        raise TypeError

    known = Shared("a server", query, 0.0)
    assert (await known.get()).error == "internal error"


async def test_the_token_of_the_console_is_not_sent_to_probed_services(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token")
    seen: list[tuple[str, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        return web.json_response({"code": 0, "data": {"events": []}})

    async with serving(handler) as url:
        zervi = {
            "url": url,
            "services": {"other": f"{url}/health"},
            "token": {"file": str(tmp_path / "token")},
        }
        async with running(tmp_path, url, url, zervi=zervi) as console:
            await console.get("/api/overview")
    sent = dict(seen)
    assert sent["/health"] is None
    assert sent["/api/auth/statistics"] == "Bearer secret-token"
    assert sent["/cluster/services"] is None

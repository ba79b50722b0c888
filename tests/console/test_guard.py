"""The console answers only requests through the sidecar, and changes only for its own page."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.console.guard import HEADERS
from sidecar.console.pages.shells import SHELLS
from tests.console.rig import ORIGIN, Console, whole

PUBLIC = {"/healthz", "/session", *SHELLS}


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with whole(tmp_path) as (console, _, _):
        yield console


def filled(path: str, value: str) -> str:
    """Return a path with a value for each placeholder."""
    return re.sub(r"\{[a-z]+\}", value, path)


async def test_every_route_but_the_public_ones_needs_an_identity(console: Console) -> None:
    """The sidecar names a caller on each protected route; a request without one came around it."""
    checked = 0
    for route in console.parts_routes():
        path = filled(route[1], "x")
        if path in PUBLIC or route[1] in PUBLIC or path.startswith("/static/"):
            continue
        answer = await console.send(route[0], path, {}, **{"x-user-id": "", "x-username": ""})
        assert answer[0] == 403, route
        assert answer[1]["code"] == "NOT_THROUGH_ENVOY", route
        checked += 1
    assert checked >= 8


async def test_public_pages_hold_no_data(console: Console) -> None:
    """A shell is the same for every caller and every id in its path."""
    for path in SHELLS:
        given = (await console.get(filled(path, "one")))[1]
        other = console.url + filled(path, "two")
        async with console.anonymous() as client, client.get(other) as answer:
            assert answer.status == 200
            assert await answer.text() == given


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        f"{ORIGIN}.evil.example",
        f"{ORIGIN}/",
        "http://127.0.0.1",
    ],
)
async def test_a_change_needs_the_origin_of_the_console(console: Console, origin: str) -> None:
    for method, path in (("POST", "/session"), ("DELETE", "/session")):
        status, body, _ = await console.send(method, path, {}, Origin=origin)
        assert (status, body["code"]) == (403, "WRONG_ORIGIN")


async def test_an_origin_that_equals_the_host_is_not_enough(console: Console) -> None:
    """A page of another name that resolves to this address has the same Host and Origin."""
    host = console.url.removeprefix("http://")
    status, body, _ = await console.send("POST", "/session", {}, Origin=console.url, Host=host)
    assert (status, body["code"]) == (403, "WRONG_ORIGIN")


async def test_two_origins_are_refused(console: Console) -> None:
    async with console.client.post(
        f"{console.url}/session", json={}, headers=[("Origin", ORIGIN), ("Origin", ORIGIN)]
    ) as answer:
        assert answer.status in (400, 403)


@pytest.mark.parametrize(
    "host", ["evil.example", "console.example.evil", "10.0.0.1:80", "[::2]", ""]
)
async def test_another_host_is_refused(console: Console, host: str) -> None:
    """DNS rebinding: a page of evil.example that resolves to loopback still has its own Host."""
    status, body = await console.get("/api/overview", Host=host)
    assert status == 421
    assert body["code"] == "WRONG_HOST"


@pytest.mark.parametrize("host", ["console.example", "localhost", "127.0.0.1:8700", "[::1]:1"])
async def test_its_own_host_and_loopback_are_answered(console: Console, host: str) -> None:
    assert (await console.get("/api/overview", Host=host))[0] == 200


async def test_every_answer_has_the_headers_of_a_strict_page(console: Console) -> None:
    for path in ("/", "/api/overview", "/nothing", "/view/nodes?page=x", "/static/main.js"):
        async with console.client.get(console.url + path) as answer:
            await answer.read()
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            stored = "no-cache" if path.startswith("/static/") else "no-store"
            assert answer.headers["Cache-Control"] == stored


async def test_errors_are_json_without_a_trace(console: Console) -> None:
    for path, status in (
        ("/nothing", 404),
        ("/api/nodes/none", 404),
        ("/api/nodes?sort=x", 400),
        ("/api/nodes?page=" + "9" * 5000, 400),
        ("/api/nodes/" + "%00" * 10, 404),
    ):
        found, body = await console.get(path)
        assert found == status, path
        assert set(body) == {"error", "code"}
        assert "Traceback" not in str(body)
    status, body, headers = await console.send("DELETE", "/api/overview")
    assert (status, body["code"], headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "GET,HEAD")


async def test_a_large_body_is_refused(console: Console) -> None:
    status, _, _ = await console.send("POST", "/session", {"username": "x" * 20_000})
    assert status == 413


async def test_static_files_are_kept_and_checked(console: Console) -> None:
    url = f"{console.url}/static/main.js"
    async with console.client.get(url) as answer:
        tag = answer.headers["ETag"]
        assert answer.content_type == "text/javascript"
    async with console.client.get(url, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


async def test_no_file_outside_is_served(console: Console) -> None:
    for path in ("/static/../settings.py", "/static/%2e%2e/settings.py", "/static/"):
        assert (await console.get(path))[0] == 404


def test_scripts_are_modules_of_ours_and_pages_have_no_inline_script() -> None:
    """The policy of the pages forbids inline scripts and styles; nothing needs them."""
    root = Path(__file__).parents[2] / "sidecar" / "console"
    scripts = list((root / "static").glob("*.js"))
    assert sum(len(each.read_text().splitlines()) for each in scripts) < 800
    for script in scripts:
        text = script.read_text()
        assert "eval(" not in text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("HTTP", "")
    for template in (root / "templates").glob("*.html"):
        text = template.read_text()
        assert " style=" not in text, template
        assert " on" + "click" not in text, template
        assert "|safe" not in text.replace(" ", ""), template
        assert "http://" not in text, template
        assert "https://" not in text, template

"""Calls to other servers with a service token."""

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.console.remote import Remote
from sidecar.console.settings import TokenSection


@pytest.mark.parametrize("known", [0, 2])
async def test_a_refused_token_is_replaced_once_and_not_for_each_viewer(
    tmp_path: Path, known: int
) -> None:
    """A token that has expired is replaced; a right that it lacks does not come with a login."""
    logins: list[int] = []

    async def login(_request: web.Request) -> web.Response:
        logins.append(len(logins) + 1)
        data = {"service_token": f"token-{logins[-1]}", "expires_in": 3600}
        return web.json_response({"success": True, "data": data})

    async def users(request: web.Request) -> web.Response:
        known_token = request.headers["Authorization"] == f"Bearer token-{known}"
        return web.json_response({}, status=200 if known_token else 403)

    app = web.Application()
    app.add_routes([web.post("/login", login), web.get("/users", users)])
    secret = tmp_path / "secret"
    secret.write_text("made up for this test")
    async with TestServer(app) as server:
        section = TokenSection(
            login_url=str(server.make_url("/login")), service_id="console", secret_file=secret
        )
        remote = Remote("Zervi", token=section)
        url = str(server.make_url("/users"))
        statuses = [(await remote.call("GET", url)).status for _ in range(5)]
    assert statuses == [200 if known else 403] * 5
    assert len(logins) == 2

"""Looma's stand-in does what the demo and the other tests rely on."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from demo.looma import Looma, start_looma
from tests.edge.looma_rig import REPORT, SERVICE, http_caller, http_registry


@pytest.fixture
async def looma() -> AsyncIterator[Looma]:
    looma = await start_looma(0)
    yield looma
    await looma.stop()


async def ask(looma: Looma, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, looma.url + path, allow_redirects=False, **arguments) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_silent_node_is_forgotten_after_the_ttl() -> None:
    looma = await start_looma(0, ttl=0.05, cleanup=0.01)
    try:
        async with http_caller() as caller:
            await http_registry(looma.url, caller).register(REPORT)
            await looma.until(lambda: not looma.nodes)
        assert (await ask(looma, "GET", "/cluster/services"))[1] == {"services": [], "total": 0}
    finally:
        await looma.stop()


async def test_the_status_tells_which_policies_run(looma: Looma) -> None:
    async with http_caller() as caller:
        registry = http_registry(looma.url, caller)
        await registry.register(REPORT)
        await registry.heartbeat(REPORT)
    assert await ask(looma, "GET", "/cluster/status") == (
        200,
        {
            "total": 1,
            "status": {"active": 1},
            "health_status": {"healthy": 1},
            "policy_digest": {"sha256:aa": 1},
            "sidecar_version": {"0.1.0": 1},
        },
    )
    _, listed = await ask(looma, "GET", "/cluster/services")
    assert listed["services"][0]["service_id"] == SERVICE.id
    assert listed["services"][0]["status"] == "active"


async def test_it_fails_as_often_as_it_was_told(looma: Looma) -> None:
    told = await ask(looma, "POST", "/demo/fail", json={"mode": "error", "count": 2})
    assert told == (200, {"success": True})
    statuses = [
        (await ask(looma, "POST", "/cluster/register", json={"service_id": "a"}))[0]
        for _ in range(3)
    ]
    assert statuses == [500, 500, 201]


@pytest.mark.parametrize(
    "body",
    ['{"mode": "explode"}', "[]", "nonsense", '{"mode": "hang", "count": -1}', '{"count": 1}'],
)
async def test_what_it_cannot_be_told_is_a_bad_request(looma: Looma, body: str) -> None:
    assert (await ask(looma, "POST", "/demo/fail", data=body))[0] == 400


@pytest.mark.parametrize("body", ["nonsense", "[]", "{}", '{"service_id": 1}'])
async def test_a_registration_that_is_none_is_refused(looma: Looma, body: str) -> None:
    assert (await ask(looma, "POST", "/cluster/register", data=body))[0] == 400
    assert looma.nodes == {}

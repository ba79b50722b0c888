"""The overview as server-sent events: one query for all, bounded in number and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.looma import Looma
from sidecar.console.api import events
from tests.console.rig import Console, whole
from tests.support.waiting import eventually


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Console, Looma]]:
    async with whole(tmp_path) as (console, looma, _):
        yield console, looma


async def event(response: aiohttp.ClientResponse) -> Any:
    """Return the next overview of a stream, None at its end."""
    while line := await response.content.readline():
        if line.startswith(b"data: "):
            return json.loads(line.removeprefix(b"data: "))
    return None


async def register(console: Console, looma: Looma, name: str) -> None:
    body = {"service_id": name, "service_name": "orders"}
    async with console.client.post(f"{looma.url}/cluster/register", json=body) as answer:
        assert answer.status == 201


async def test_a_stream_shows_each_change(both: tuple[Console, Looma]) -> None:
    console, looma = both
    async with console.client.get(f"{console.url}/api/events") as stream:
        assert stream.content_type == "text/event-stream"
        assert (await event(stream))["cluster_overview"]["nodes"] == 0
        await register(console, looma, "one")
        while (await event(stream))["cluster_overview"]["nodes"] != 1:
            pass


async def test_fifty_viewers_cost_one_query_of_the_registry(both: tuple[Console, Looma]) -> None:
    """However many ask at the same time, the registry gets one request per poll."""
    console, _ = both
    fleet = console.parts.cluster.nodes
    fleet.every = 3600.0
    answers = await asyncio.gather(*(console.get("/api/overview") for _ in range(50)))
    assert {status for status, _ in answers} == {200}
    await asyncio.gather(*(console.get("/view/nodes") for _ in range(50)))
    assert fleet.queries == 1


async def test_a_browser_that_opens_a_hundred_streams_gets_ten(
    both: tuple[Console, Looma],
) -> None:
    console, _ = both
    opened = []
    statuses = []
    for _ in range(100):
        response = await console.client.get(f"{console.url}/api/events")
        statuses.append(response.status)
        if response.status == 200:
            opened.append(response)
        else:
            assert response.headers["Retry-After"] == "10"
            response.release()
    assert statuses == [200] * events.MAX_STREAMS_OF_ONE + [429] * 90
    # Another caller is not affected.
    other = await console.client.get(f"{console.url}/api/events", headers={"x-user-id": "9"})
    assert other.status == 200
    for response in (*opened, other):
        response.close()
    await eventually(lambda: console.parts.events.open == 0, "the end of the streams")


async def test_the_number_of_all_streams_is_bounded(
    both: tuple[Console, Looma], monkeypatch: pytest.MonkeyPatch
) -> None:
    console, _ = both
    monkeypatch.setattr(events, "MAX_STREAMS", 1)
    async with console.client.get(f"{console.url}/api/events"):
        status, body = await console.get("/api/events", **{"x-user-id": "9"})
        assert (status, body["code"]) == (503, "TOO_MANY_STREAMS")


async def test_a_stream_ends_and_the_next_request_is_judged_again(tmp_path: Path) -> None:
    async with whole(tmp_path) as (console, _, _):
        assert events.STREAM_SECONDS == 300
        console.parts.events.seconds = 0.2
        async with console.client.get(f"{console.url}/api/events") as stream:
            while await event(stream) is not None:
                pass
        assert console.parts.events.open == 0


async def test_the_end_of_the_console_ends_its_streams(tmp_path: Path) -> None:
    async with whole(tmp_path) as (console, _, _):
        stream = await console.client.get(f"{console.url}/api/events")
        assert await event(stream) is not None
        await console.parts.events.close()
        assert await event(stream) is None
        assert (await console.get("/api/events"))[0] == 503


async def test_a_stream_survives_a_registry_that_fails(both: tuple[Console, Looma]) -> None:
    console, looma = both
    async with console.client.get(f"{console.url}/api/events") as stream:
        await event(stream)
        await looma.stop()
        overview = await event(stream)
        assert overview["cluster_overview"]["registry"]["state"] == "stale"
        assert overview["cluster_overview"]["alerts"][0]["code"] == "registry_down"

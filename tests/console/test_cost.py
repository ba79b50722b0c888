"""What viewers and nodes cost the console: viewing does not grow with the nodes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.console.rig import Console, entry, running
from tests.console.test_registry import answering, serving

ROUNDS, REQUESTS = 5, 40


async def cost(ask: Callable[[], Awaitable[object]]) -> float:
    """Return the least CPU seconds of REQUESTS requests, in several rounds."""
    spent = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(REQUESTS):
            await ask()
        spent.append(time.process_time() - begin)
    return min(spent)


@pytest.mark.parametrize("path", ["/api/overview", "/view/overview"])
async def test_the_overview_of_10000_nodes_costs_a_viewer_what_that_of_100_costs(
    tmp_path: Path, path: str
) -> None:
    """It is counted and written once a listing; at most three times as much is allowed."""

    async def measured(console: Console) -> float:
        console.parts.cluster.nodes.every = 3600.0
        console.parts.cluster.statistics.every = console.parts.cluster.activity.every = 3600.0
        console.parts.cluster.services.every = 3600.0
        assert (await console.get(path))[0] == 200
        return await cost(lambda: console.get(path))

    found = []
    for number in (100, 10_000):
        listing = {"services": [entry(each) for each in range(number)]}
        directory = tmp_path / str(number)
        directory.mkdir()
        async with (
            serving(answering(listing)) as looma,
            running(directory, looma, looma) as console,
        ):
            found.append(await measured(console))
            fleet = await console.parts.cluster.fleet()
            assert len(fleet.nodes) == number
            assert console.parts.cluster.nodes.queries == 1
    assert found[1] < 3 * found[0]


async def test_reading_10000_nodes_does_not_stop_the_console(tmp_path: Path) -> None:
    """While a listing is read, other requests are answered: it is read in a thread."""
    listing = {"services": [entry(each) for each in range(10_000)]}
    async with (
        serving(answering(listing)) as looma,
        running(tmp_path, looma, looma) as console,
    ):
        reading = asyncio.create_task(console.get("/api/nodes"))
        answered = 0
        while not reading.done():
            assert (await console.get("/healthz"))[0] == 200
            answered += 1
        assert (await reading)[1]["total"] == 10_000
        assert answered > 3

"""What viewers and nodes cost the console: viewing does not grow with the nodes."""

import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sidecar.console.fleet.fleet import Fleet, History
from sidecar.console.fleet.overview import Counted, counted
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


async def test_a_listing_is_read_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So 10,000 nodes do not stop the console while it reads them."""
    threads: list[int] = []
    take = History.take

    def take_in_a_thread(history: History, entries: Iterable[object]) -> Fleet:
        threads.append(threading.get_ident())
        return take(history, entries)

    def count_in_a_thread(*given: Any) -> Counted:
        threads.append(threading.get_ident())
        return counted(*given)

    monkeypatch.setattr(History, "take", take_in_a_thread)
    monkeypatch.setattr("sidecar.console.fleet.cluster.counted", count_in_a_thread)
    async with (
        serving(answering({"services": [entry(1)]})) as looma,
        running(tmp_path, looma, looma) as console,
    ):
        assert (await console.get("/api/nodes"))[1]["total"] == 1
    assert len(threads) == 2
    assert threading.get_ident() not in threads

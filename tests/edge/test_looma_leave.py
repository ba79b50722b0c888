"""How a node leaves its registry."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from demo.looma import Looma, start_looma
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.reporter import Reporter
from tests.edge.looma_rig import Node, http_caller, http_registry, running, server
from tests.support.waiting import eventually


@pytest.fixture
async def looma() -> AsyncIterator[Looma]:
    looma = await start_looma(0)
    yield looma
    await looma.stop()


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with http_caller() as caller:
        yield caller


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def reporter(looma: Looma, caller: HttpCaller, node: Node) -> AsyncIterator[Reporter]:
    """Run a reporter; its node is registered."""
    async with running(node.reporter(http_registry(looma.url, caller))) as reporter:
        await eventually(lambda: node.registered == [True], "it registers")
        yield reporter


async def test_a_node_that_leaves_is_forgotten_and_silent(
    looma: Looma, reporter: Reporter, node: Node
) -> None:
    assert await reporter.leave()
    assert looma.nodes == {}
    assert looma.requests[-1].operation == "deregister"
    assert node.registered == [True, False]
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "looma-report"]


async def test_leaving_may_be_asked_for_again_and_at_the_same_time(
    looma: Looma, reporter: Reporter
) -> None:
    assert all(await asyncio.gather(reporter.leave(), reporter.leave()))
    assert await reporter.leave()
    assert [request.operation for request in looma.requests].count("deregister") == 1


async def test_a_node_that_is_unknown_already_has_left(looma: Looma, reporter: Reporter) -> None:
    looma.nodes.clear()
    assert await reporter.leave()


async def test_what_failed_is_tried_again_by_the_next_call(
    looma: Looma, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    looma.fail("error", 1000)
    assert not await reporter.leave()
    assert "could not deregister" in caplog.text
    looma.fail("error", 0)
    assert await reporter.leave()
    assert looma.nodes == {}


async def test_a_registry_that_never_answers_does_not_hold_up_leaving(
    caller: HttpCaller, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.looma.reporter.LEAVE_SECONDS", 0.05)
    async with server(None) as black_hole:
        registry = http_registry(f"http://127.0.0.1:{black_hole.port}", caller)
        async with running(node.reporter(registry)) as reporter:
            await eventually(lambda: black_hole.accepted, "it tries to register")
            assert not await reporter.leave()
    assert node.requests == [("deregister", "failed")]


async def test_a_node_that_never_registered_leaves_without_a_call(
    looma: Looma, caller: HttpCaller, node: Node
) -> None:
    reporter = node.reporter(http_registry(looma.url, caller))
    assert await reporter.leave()
    reporter.start()
    assert await reporter.leave()
    assert (node.requests, list(looma.requests)) == ([], [])

"""A registry that is dead, black-holed or senseless costs little memory, calls and log lines."""

import asyncio
import gc
import logging
import tracemalloc
from typing import Any

import pytest

from bench.virtual_time import VirtualTimeLoop
from sidecar.looma.answers import Answer
from sidecar.looma.registry import Failed
from sidecar.ops.logs import RateLimited
from tests.edge.looma_rig import Node, ScriptedCalls, http_caller, http_registry, running, server
from tests.support.waiting import eventually


async def test_a_black_hole_holds_one_connection_and_one_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.looma.http_calls.CALL_SECONDS", 0.01)
    async with server(None) as black_hole, http_caller() as caller:
        node = Node()
        tasks = len(asyncio.all_tasks())
        registry = http_registry(f"http://127.0.0.1:{black_hole.port}", caller)
        async with running(node.reporter(registry)):
            await eventually(lambda: len(node.requests) >= 30, "thirty attempts")
            assert set(node.requests) == {("register", "failed")}
            assert len(asyncio.all_tasks()) <= tasks + 3  # the reporter, the server's handlers
        assert black_hole.most_open <= 2  # the server may see an end after the next beginning


@pytest.mark.parametrize(
    "answer",
    [
        Failed("no answer within 2 s"),
        Answer(503, b"", 1.0),
        Answer(401),
        Answer(404),
        Answer(200, None),
        Answer(200, b'{"ttl_seconds": "300", "success": 7, "message": [[[[[]]]]]}'),
    ],
    ids=["silent", "busy", "unauthorized", "not there", "too long", "nonsense"],
)
def test_a_registry_that_fails_for_days_costs_no_memory(
    answer: Answer | Failed, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand calls bring the reporter to its size, as many more add next to nothing."""
    caplog.set_level(logging.CRITICAL)  # pytest would keep each line
    node = Node()
    asked = 0

    async def call(*_asked: Any, **_more: Any) -> Answer | Failed:
        nonlocal asked
        asked += 1
        return answer

    async def held_at(seconds: float) -> int:
        await asyncio.sleep(seconds - asyncio.get_running_loop().time())
        node.requests.clear()
        node.registered.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async def days() -> int:
        async with running(node.reporter(http_registry("http://r.test", call), heartbeat=30.0)):
            first, calls = await held_at(20_000.0), asked
            second, third = await held_at(40_000.0), await held_at(60_000.0)
            assert asked > calls + 120  # one that is busy names 300 s itself
            # A leak grows each time; what other tests left running in this process does not.
            return min(second - first, third - second)

    tracemalloc.start()
    try:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            assert runner.run(days()) < 16 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (Failed("no answer within 2 s"), "at the registry failed: no answer within 2 s"),
        (Answer(401), "at the registry failed: refused, HTTP status 401"),
        (Answer(200, b'{"ttl_seconds": "300"}'), "Looma: ttl_seconds is not a number of seconds"),
        (
            Answer(200, b'{"heartbeat_interval_seconds": -1}'),
            "Looma: heartbeat_interval_seconds is",
        ),
        (Answer(200, None), "Looma: the answer is longer than 65536 bytes"),
    ],
)
def test_the_same_thing_is_logged_once_a_minute(
    answer: Answer | Failed,
    line: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over ten minutes with a heartbeat a second, and each line says how many were left out."""

    async def ten_minutes() -> None:
        limited = RateLimited(asyncio.get_running_loop().time)
        monkeypatch.setattr(caplog.handler, "filters", [limited])
        registry = http_registry("http://r.test", ScriptedCalls([Answer(200), Answer(200), answer]))
        async with running(Node().reporter(registry, heartbeat=1.0)):
            await asyncio.sleep(600.0)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(ten_minutes())
    lines = [r.getMessage() for r in caplog.records if line in r.getMessage()]
    assert 9 <= len(lines) <= 11  # heartbeats until the TTL has passed, then registrations
    assert "more like this left out)" in lines[-1]

"""The reporter against Looma's stand-in, over real sockets."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from demo.looma import Looma, SeenRequest, start_looma
from sidecar.looma.http_calls import HttpCaller
from sidecar.upstream.state import UpstreamState
from tests.edge.looma_rig import SERVICE, Node, http_caller, http_registry, running
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


def seen(looma: Looma, operation: str) -> list[SeenRequest]:
    return [request for request in looma.requests if request.operation == operation]


async def beats(looma: Looma, more: int) -> None:
    wanted = len(seen(looma, "heartbeat")) + more
    await looma.until(lambda: len(seen(looma, "heartbeat")) >= wanted)


async def test_a_node_registers_under_the_names_of_loomas_table(
    looma: Looma, caller: HttpCaller
) -> None:
    async with running(Node().reporter(http_registry(looma.url, caller))):
        await looma.until(lambda: SERVICE.id in looma.nodes)
    assert seen(looma, "register")[0].body == {
        "service_id": SERVICE.id,
        "instance_id": SERVICE.id,
        "service_name": "basic-server",
        "service_type": "basic-server",
        "node_id": "node-a",
        "cluster_id": "jobfirst-cluster-1",
        "address": "10.1.2.3",
        "port": 10000,
        "service_url": "http://10.1.2.3:10000",
        "capabilities": ["zervi-authorization", "upstream-health"],
        "status": "registered",
        "health_status": "unknown",
        "metadata": {"version": "1.0", "environment": "test", "sidecar_version": "0.1.0"},
    }


async def test_a_heartbeat_says_which_policy_runs_and_how_the_node_is(
    looma: Looma, caller: HttpCaller
) -> None:
    node = Node()
    async with running(node.reporter(http_registry(looma.url, caller))) as reporter:
        reporter.upstream(UpstreamState.HEALTHY)
        await beats(looma, 1)
        node.state = node.state._replace(
            policy_digest="sha256:bb",
            policy_generation=2,
            ready=False,
            not_ready_reason="policy: none",
            key_set_age=None,
        )
        await beats(looma, 2)
    assert seen(looma, "heartbeat")[0].body == {
        "timestamp": "2027-01-15T08:00:00.000Z",
        "status": "active",
        "health_status": "healthy",
        "ready": True,
        "not_ready_reason": "",
        "policy_digest": "sha256:aa",
        "policy_generation": 1,
        "sidecar_version": "0.1.0",
        "key_set_age_seconds": 12.3,
        "metrics": {"checks_total": 7, "denials_total": 2, "check_p99_seconds": 0.000123},
    }
    changed: dict[str, Any] = seen(looma, "heartbeat")[-1].body
    assert changed["status"] == "inactive"
    assert changed["not_ready_reason"] == "policy: none"
    assert (changed["policy_digest"], changed["policy_generation"]) == ("sha256:bb", 2)
    assert changed["key_set_age_seconds"] is None


async def test_a_change_of_health_is_reported_at_once(caller: HttpCaller) -> None:
    looma = await start_looma(0, heartbeat_interval=3600.0, ttl=86_400)
    try:
        async with running(Node().reporter(http_registry(looma.url, caller))) as reporter:
            await looma.until(lambda: SERVICE.id in looma.nodes)
            reporter.upstream(UpstreamState.HEALTHY)
            await looma.until(lambda: looma.nodes[SERVICE.id].health_status == "healthy")
            reporter.upstream(UpstreamState.CRITICAL)
            await looma.until(lambda: looma.nodes[SERVICE.id].health_status == "critical")
    finally:
        await looma.stop()
    assert len(seen(looma, "heartbeat")) == 2


async def test_a_forgotten_node_registers_again_with_the_same_id(
    looma: Looma, caller: HttpCaller
) -> None:
    node = Node()
    async with running(node.reporter(http_registry(looma.url, caller))):
        await beats(looma, 2)
        looma.nodes.clear()
        await looma.until(lambda: SERVICE.id in looma.nodes)
        await looma.until(lambda: seen(looma, "heartbeat")[-1].at > seen(looma, "register")[-1].at)
    assert ("heartbeat", "unregistered") in node.requests
    assert len(seen(looma, "register")) == 2
    assert node.registered == [True, False, True]


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("error", "failed"),
        ("close", "failed"),
        ("redirect", "failed"),
        ("unavailable", "retry_after"),
        ("deny", "unauthorized"),
        ("garbage", "ok"),
        ("huge", "ok"),
    ],
)
async def test_a_registry_that_misbehaves_is_asked_again(
    looma: Looma,
    caller: HttpCaller,
    mode: Any,
    result: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.looma.pace.MAX_RETRY_AFTER", 0.01)
    node = Node()
    async with running(node.reporter(http_registry(looma.url, caller))):
        await beats(looma, 1)
        looma.fail(mode, 2)
        await beats(looma, 5)
        await eventually(lambda: len(node.requests) >= 7, "the outcomes are counted")
    assert node.requests.count(("heartbeat", result)) >= 2
    assert node.registered == [True]
    keys = {vars(r)["limit_key"] for r in caplog.records if r.levelno == logging.WARNING}
    assert len(keys) == 1, keys


async def test_a_registry_that_hangs_is_given_up(
    looma: Looma, caller: HttpCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.looma.http_calls.CALL_SECONDS", 0.05)
    node = Node()
    looma.fail("hang", 2)
    async with running(node.reporter(http_registry(looma.url, caller))):
        await eventually(lambda: len(node.requests) >= 3, "it is asked a third time")
    assert node.requests[:3] == [("register", "failed"), ("register", "failed"), ("register", "ok")]


async def test_metrics_are_handed_over_where_asked_for(looma: Looma, caller: HttpCaller) -> None:
    node = Node()
    async with running(node.reporter(http_registry(looma.url, caller), metrics=True)):
        await eventually(lambda: ("metrics", "ok") in node.requests, "metrics are sent")
    assert looma.nodes[SERVICE.id].metrics == {
        "timestamp": "2027-01-15T08:00:00.000Z",
        "upstream_state": "unknown",
        "checks_total": 7,
        "denials_total": 2,
        "check_p99_seconds": 0.000123,
    }


async def test_the_time_of_day_may_jump_without_a_heartbeat_more_or_less(
    looma: Looma, caller: HttpCaller
) -> None:
    node = Node()
    async with running(node.reporter(http_registry(looma.url, caller))):
        for moment in (0.0, 4e9, 1_800_000_000.0):
            node.now = moment
            await beats(looma, 3)
    assert node.registered == [True]
    stamps = [request.body["timestamp"][:4] for request in seen(looma, "heartbeat")]
    assert sorted(set(stamps)) == ["1970", "2027", "2096"]


async def test_a_fault_in_what_is_reported_costs_reports_and_not_the_reporter(
    looma: Looma, caller: HttpCaller, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node()
    async with running(node.reporter(http_registry(looma.url, caller))):
        await beats(looma, 1)
        node.now = 1e30  # no date has so high a number
        await eventually(lambda: ("heartbeat", "failed") in node.requests, "a report fails")
        node.now = 1_800_000_000.0
        await beats(looma, 1)
    assert "internal error" in caplog.text


async def test_numbers_that_json_lacks_are_left_out(looma: Looma, caller: HttpCaller) -> None:
    node = Node()
    metrics = node.state.metrics._replace(p99_seconds=float("inf"))
    node.state = node.state._replace(metrics=metrics, key_set_age=float("nan"))
    async with running(node.reporter(http_registry(looma.url, caller))):
        await beats(looma, 1)
    body = seen(looma, "heartbeat")[0].body
    assert body["metrics"]["check_p99_seconds"] is None
    assert body["key_set_age_seconds"] is None

"""Consul as the registry, against a stand-in that follows its documented agent API."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from sidecar.looma.answers import Answer
from sidecar.looma.consul import ConsulRegistry
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.registry import Failed, Ok, RetryAfter, Unauthorized, Unregistered
from sidecar.looma.token import FileTokens, WithToken
from sidecar.upstream.state import UpstreamState
from tests.edge.consul_stand_in import Consul, Version
from tests.edge.looma_rig import REPORT, SERVICE, Node, ScriptedCalls, http_caller, running
from tests.support.waiting import eventually

CHECK = f"service:{SERVICE.id}"
TTL = 300.0


@pytest.fixture(params=get_args(Version))
async def consul(request: pytest.FixtureRequest) -> AsyncIterator[Consul]:
    consul = Consul(None, request.param)
    await consul.start()
    yield consul
    await consul.stop()


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with http_caller() as caller:
        yield caller


async def test_a_service_is_registered_with_a_ttl_check(consul: Consul, caller: HttpCaller) -> None:
    registry = ConsulRegistry(consul.url, SERVICE.id, TTL, caller)
    assert await registry.register(REPORT) == Ok(ttl=TTL)
    assert consul.services[SERVICE.id] == {
        "ID": SERVICE.id,
        "Name": "basic-server",
        "Address": "10.1.2.3",
        "Port": 10000,
        "Tags": ["zervi-authorization", "upstream-health"],
        "Meta": {
            "service_type": "basic-server",
            "node_id": "node-a",
            "cluster_id": "jobfirst-cluster-1",
            "version": "1.0",
            "environment": "test",
            "sidecar_version": "0.1.0",
        },
        "Check": {
            "CheckID": CHECK,
            "Name": "the upstream, probed by the Zervi sidecar",
            "TTL": "300s",
            "Status": "passing",
            "DeregisterCriticalServiceAfter": "1h",
        },
    }


async def test_labels_are_among_the_services_metadata(consul: Consul, caller: HttpCaller) -> None:
    labelled = SERVICE._replace(labels={"zone": "a"})
    registry = ConsulRegistry(consul.url, SERVICE.id, TTL, caller)
    assert await registry.register(REPORT._replace(service=labelled)) == Ok(ttl=TTL)
    assert consul.services[SERVICE.id]["Meta"]["label_zone"] == "a"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (UpstreamState.HEALTHY, "passing"),
        (UpstreamState.WARNING, "warning"),
        (UpstreamState.CRITICAL, "critical"),
        (UpstreamState.UNKNOWN, "warning"),
    ],
)
async def test_the_check_follows_the_upstream(
    consul: Consul, caller: HttpCaller, state: UpstreamState, status: str
) -> None:
    registry = ConsulRegistry(consul.url, SERVICE.id, TTL, caller)
    report = REPORT._replace(upstream=state)
    await registry.register(report)
    assert consul.checks[CHECK]["Status"] == status
    assert await registry.heartbeat(report) == Ok()
    assert consul.checks[CHECK]["Status"] == status
    output = json.loads(consul.checks[CHECK]["Output"])
    assert output["health_status"] == state
    assert output["policy_digest"] == "sha256:aa"


async def test_an_agent_that_forgot_is_told_again(consul: Consul, caller: HttpCaller) -> None:
    node = Node()
    registry = ConsulRegistry(consul.url, SERVICE.id, TTL, caller)
    async with running(node.reporter(registry, metrics=True)) as reporter:
        await eventually(lambda: len(consul.updates) >= 2, "heartbeats")
        consul.forget()
        await eventually(lambda: CHECK in consul.checks, "it registers again")
        assert await reporter.leave()
    assert (consul.services, consul.checks) == ({}, {})
    assert ("heartbeat", "unregistered") in node.requests


async def test_a_service_that_is_unknown_already_is_deregistered(
    consul: Consul, caller: HttpCaller
) -> None:
    assert await ConsulRegistry(consul.url, SERVICE.id, TTL, caller).deregister() == Ok()


async def test_an_agent_with_acls_wants_its_token(caller: HttpCaller, tmp_path: Path) -> None:
    consul = Consul("made-up", "1.20")
    await consul.start()
    try:
        without = ConsulRegistry(consul.url, SERVICE.id, TTL, caller)
        assert await without.register(REPORT) == Unauthorized("HTTP status 403")
        (tmp_path / "token").write_text("made-up\n")
        call = WithToken(caller, FileTokens(tmp_path / "token"), "X-Consul-Token", "")
        assert isinstance(
            await ConsulRegistry(consul.url, SERVICE.id, TTL, call).register(REPORT), Ok
        )
    finally:
        await consul.stop()


async def test_a_long_value_is_cut_to_what_consul_takes(consul: Consul, caller: HttpCaller) -> None:
    report = REPORT._replace(service=SERVICE._replace(version="v" * 600))
    registry = ConsulRegistry(consul.url, SERVICE.id, TTL, caller)
    assert isinstance(await registry.register(report), Ok)


@pytest.mark.parametrize(
    ("answer", "registered", "beaten"),
    [
        (Answer(404), Failed("HTTP status 404: no Consul agent at looma.url"), Unregistered()),
        (Answer(500, b"rpc error"), Failed("HTTP status 500"), Failed("HTTP status 500")),
        (
            Answer(429, b"Your IP is issuing too many requests", 3.0),
            RetryAfter(3.0, "HTTP status 429"),
            RetryAfter(3.0, "HTTP status 429"),
        ),
        (Answer(200, b"\xff{"), Ok(ttl=TTL), Ok()),
        (Answer(200, None), Ok(ttl=TTL), Ok()),
        (Failed("Connection refused"), Failed("Connection refused"), Failed("Connection refused")),
    ],
)
async def test_what_an_agent_answers_becomes_an_outcome(
    answer: Answer | Failed, registered: object, beaten: object
) -> None:
    registry = ConsulRegistry("http://c.test", SERVICE.id, TTL, ScriptedCalls([answer]))
    assert await registry.register(REPORT) == registered
    assert await registry.heartbeat(REPORT) == beaten

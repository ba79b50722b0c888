"""Every body that the reporter sends, and every answer of the stand-in, against the contract."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.looma import Looma, start_looma
from sidecar.looma import report as bodies
from sidecar.looma.answers import Answer
from sidecar.looma.directory.client import RegistryClient
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.directory.membership import Membership
from sidecar.looma.identity import Service, service_id
from sidecar.looma.registry import Failed
from sidecar.looma.report import NodeMetrics, NodeState, Report
from sidecar.net.trust import TlsFiles
from sidecar.upstream.state import UpstreamState
from tests.edge.looma_contract import Contract
from tests.edge.looma_rig import REPORT, SERVICE, Node, http_caller, http_registry, running
from tests.support.waiting import eventually

CONTRACT = Contract()

TEXT = st.text(max_size=20)
COUNT = st.integers(0, 2**63)
SECONDS = st.none() | st.floats(0, 1e9)
REPORTS = st.builds(
    Report,
    service=st.builds(
        Service,
        id=st.text(min_size=1).map(lambda name: service_id("{name}", name=name, host="", port=1)),
        name=TEXT,
        type=TEXT,
        address=TEXT,
        port=st.integers(1, 65535),
        node=TEXT,
        cluster=TEXT,
        labels=st.dictionaries(TEXT, TEXT, max_size=32),
        version=TEXT,
        environment=TEXT,
    ),
    sidecar_version=TEXT,
    state=st.builds(
        NodeState,
        policy_digest=TEXT,
        policy_generation=COUNT,
        key_set_age=SECONDS,
        ready=st.booleans(),
        not_ready_reason=TEXT,
        metrics=st.builds(NodeMetrics, checks=COUNT, denials=COUNT, p99_seconds=SECONDS),
    ),
    upstream=st.sampled_from(UpstreamState),
    time=st.floats(0, 4e9),
)


@given(REPORTS)
def test_every_body_keeps_the_contract_whatever_the_node_is(report: Report) -> None:
    service = report.service.id
    for method, path, body in (
        ("POST", "/cluster/register", bodies.registration(report)),
        ("POST", f"/cluster/heartbeat/{service}", bodies.heartbeat(report)),
        ("POST", f"/cluster/metrics/{service}", bodies.metrics(report)),
    ):
        CONTRACT.check_request(method, path, json.loads(json.dumps(body, allow_nan=False)))


class Checked:
    """A caller that holds everything that passes against the contract."""

    def __init__(self, caller: Any, base: str) -> None:
        self._caller = caller
        self._base = base
        self.seen: set[tuple[str, int]] = set()

    async def __call__(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Failed:
        path = url.removeprefix(self._base)
        CONTRACT.check_request(method, path, body)
        answer: Answer | Failed = await self._caller(method, url, body, headers)
        assert isinstance(answer, Answer)
        CONTRACT.check_answer(method, path, answer.status, answer.json())
        self.seen.add((CONTRACT.operation(method, path)["operationId"], answer.status))
        return answer


@pytest.fixture
async def looma() -> AsyncIterator[Looma]:
    looma = await start_looma(0, heartbeat_interval=1.0)
    yield looma
    await looma.stop()


async def test_the_reporter_and_the_stand_in_keep_the_contract(looma: Looma) -> None:
    async with http_caller() as http:
        call = Checked(http, looma.url)
        registry = http_registry(looma.url, call)
        await registry.heartbeat(REPORT)
        await registry.deregister()
        await registry.register(REPORT)
        await registry.heartbeat(REPORT)
        await registry.metrics(REPORT)
        for mode in ("error", "unavailable", "deny"):
            looma.fail(mode, 4)
            await registry.register(REPORT)
            await registry.heartbeat(REPORT)
            await registry.metrics(REPORT)
            await registry.deregister()
        await registry.deregister()
        await registry.metrics(REPORT)
    nodes_operations = ("register", "heartbeat", "metrics", "deregister")
    failures = {(name, status) for name in nodes_operations for status in (401, 500, 503)}
    unknown = {(name, 404) for name in nodes_operations[1:]}
    done = {("register", 201), ("heartbeat", 200), ("metrics", 200), ("deregister", 200)}
    assert call.seen == failures | unknown | done


async def test_what_a_running_reporter_sends_keeps_the_contract(looma: Looma) -> None:
    async with http_caller() as http:
        node, call = Node(), Checked(http, looma.url)
        registry = http_registry(looma.url, call)
        async with running(node.reporter(registry, metrics=True)) as reporter:
            await eventually(lambda: ("metrics", "ok") in node.requests, "metrics")
            await eventually(lambda: ("heartbeat", "ok") in node.requests, "a heartbeat")
            await reporter.leave()
    assert {name for name, _ in call.seen} == {"register", "heartbeat", "metrics", "deregister"}
    assert "failed" not in {result for _, result in node.requests}


@pytest.mark.parametrize(
    "path", ["/cluster/services", "/cluster/status", f"/cluster/metrics/{SERVICE.id}"]
)
async def test_what_operators_read_keeps_the_contract(looma: Looma, path: str) -> None:
    async with http_caller() as http, aiohttp.ClientSession() as session:
        registry = http_registry(looma.url, http)

        async def read() -> int:
            async with session.get(looma.url + path) as response:
                CONTRACT.check_answer("GET", path, response.status, await response.json())
                return response.status

        assert await read() == (404 if "metrics" in path else 200)
        await registry.register(REPORT)
        await read()
        await registry.heartbeat(REPORT)
        await registry.metrics(REPORT)
        assert await read() == 200


async def test_what_a_gateway_reads_keeps_the_contract() -> None:
    looma = await start_looma(0, poll=1.0)
    assigned = {"user_id": 7, "service_name": SERVICE.name, "requirements": {"gpu": "yes"}}
    try:
        async with http_caller() as http, aiohttp.ClientSession(looma.url) as session:
            registry = http_registry(looma.url, http)
            await registry.register(REPORT)
            await registry.heartbeat(REPORT)
            await registry.deregister()  # listed as draining
            await registry.register(REPORT._replace(service=SERVICE._replace(id="second")))
            CONTRACT.check_request("POST", "/cluster/allocations", assigned)
            async with session.post("/cluster/allocations", json=assigned) as answer:
                CONTRACT.check_answer("POST", "/cluster/allocations", answer.status, {})
            for target in ("/cluster/services?view=membership", "/cluster/allocations"):
                async with session.get(target) as answer:
                    path = target.partition("?")[0]
                    CONTRACT.check_answer("GET", path, answer.status, await answer.json())
                async with session.get(
                    target, headers={"If-None-Match": answer.headers["ETag"]}
                ) as answer:
                    assert answer.status == 304
    finally:
        await looma.stop()


async def test_a_nodes_labels_reach_the_gateway() -> None:
    looma = await start_looma(0, poll=1.0)
    labelled = SERVICE._replace(labels={"zone": "a", "capacity": "4"})
    try:
        async with http_caller() as http:
            registry = http_registry(looma.url, Checked(http, looma.url))
            await registry.register(REPORT._replace(service=labelled))
            await registry.heartbeat(REPORT)
        members = Membership(
            looma.url, Admission(networks(["10.0.0.0/8"])), RegistryClient(TlsFiles())
        )
        listing = await members.poll()
        assert listing is not None
        (instance,) = listing.instances
        assert (instance.zone, instance.capacity) == ("a", 4)
    finally:
        await looma.stop()


def test_the_contract_refuses_what_it_does_not_know() -> None:
    body = {**bodies.heartbeat(REPORT), "token": "x"}
    with pytest.raises(jsonschema.ValidationError, match="'token' was unexpected"):
        CONTRACT.check_request("POST", f"/cluster/heartbeat/{SERVICE.id}", body)

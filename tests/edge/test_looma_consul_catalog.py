"""A gateway reads Consul's catalog by blocking queries, from a stand-in that follows its pages."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sidecar.core.placement.directory import Health, Instance
from sidecar.looma.consul import ConsulRegistry
from sidecar.looma.directory import consul_catalog
from sidecar.looma.directory.client import RegistryClient
from sidecar.looma.directory.consul_catalog import ConsulCatalog, next_index
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.token import EnvTokens
from sidecar.net.trust import TlsFiles
from sidecar.upstream.state import UpstreamState
from tests.edge.consul_stand_in import Consul
from tests.edge.looma_rig import REPORT, SERVICE, http_caller

ADMISSION = Admission(networks(["10.0.0.0/8"]), fixed=frozenset({"zervi-auth"}))
TARGETS = ["orders", "basic-*", "zervi-auth"]


class Rig:
    """An agent, and the catalog of a gateway whose routes have ``targets``."""

    def __init__(self, consul: Consul) -> None:
        self.consul = consul
        self.targets = list(TARGETS)
        self.catalog = ConsulCatalog(
            consul.url, ADMISSION, RegistryClient(TlsFiles()), lambda: self.targets
        )

    async def listing(self) -> Listing:
        """Return the next listing; an answer need not have a change."""
        async with asyncio.timeout(20):
            while True:
                found = await self.catalog.poll()
                if found is not None:
                    return found

    async def ids(self) -> list[str]:
        return sorted(each.id for each in (await self.listing()).instances)


@contextlib.asynccontextmanager
async def agent(token: str | None = None) -> AsyncIterator[Consul]:
    consul = Consul(token, "1.20")
    await consul.start()
    try:
        yield consul
    finally:
        await consul.stop()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with agent() as consul:
        rig = Rig(consul)
        yield rig
        await rig.catalog.close()


async def test_what_a_sidecar_reports_is_an_instance(rig: Rig) -> None:
    async with http_caller() as caller:
        registry = ConsulRegistry(rig.consul.url, SERVICE.id, 300.0, caller)
        labels = {"zone": "a", "capacity": "3"}
        report = REPORT._replace(service=SERVICE._replace(labels=labels))
        await registry.register(report)
        (found,) = (await rig.listing()).instances
        assert found == Instance(
            SERVICE.id, "basic-server", "10.1.2.3:10000", Health.HEALTHY, zone="a", capacity=3,
            labels=labels,
        )  # fmt: skip
        for state, health in (
            (UpstreamState.WARNING, Health.WARNING),
            (UpstreamState.CRITICAL, Health.CRITICAL),
            (UpstreamState.HEALTHY, Health.HEALTHY),
        ):
            await registry.heartbeat(report._replace(upstream=state))
            assert [each.health for each in (await rig.listing()).instances] == [health]
        await registry.deregister()
        assert await rig.ids() == []


async def test_only_services_of_the_targets_are_read(rig: Rig) -> None:
    for name in ("orders", "basic-1", "basic-2", "consul", "zervi-auth", "ordersx"):
        rig.consul.add(name, 1)
    assert await rig.ids() == ["basic-1-1", "basic-2-1", "orders-1"]
    assert {path.rpartition("/")[2] for path, _ in rig.consul.asked} == {
        "services", "basic-1", "basic-2", "orders",
    }  # fmt: skip
    rig.targets = ["basic-2", "consul"]
    assert await rig.ids() == ["basic-2-1", "consul-1"]


async def test_a_change_is_learnt_and_a_service_that_goes_is_gone(rig: Rig) -> None:
    rig.consul.add("orders", 1)
    assert await rig.ids() == ["orders-1"]
    rig.consul.add("orders", 2)
    assert await rig.ids() == ["orders-1", "orders-2"]
    rig.consul.add("basic-x", 3)
    assert await rig.ids() == ["basic-x-3", "orders-1", "orders-2"]
    rig.consul.remove("basic-x-3")
    assert await rig.ids() == ["orders-1", "orders-2"]


async def test_an_answer_without_a_change_is_none(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consul_catalog, "WAIT_SECONDS", 0.05)
    rig.consul.add("orders", 1)
    await rig.listing()
    assert await rig.catalog.poll() is None
    rig.consul.change()  # something that is not read
    assert await rig.catalog.poll() is None


async def test_a_query_waits_for_what_comes_after_the_last_answer(rig: Rig) -> None:
    rig.consul.add("orders", 1)
    await rig.listing()
    rig.consul.add("orders", 2)
    await rig.listing()
    indices = [index for path, index in rig.consul.asked if path.endswith("/orders")]
    assert indices[:2] == [0, rig.consul.index - 1]


async def test_an_agent_that_was_replaced_is_read_from_the_start(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consul_catalog, "WAIT_SECONDS", 0.1)
    rig.consul.add("orders", 1)
    await rig.listing()
    rig.consul.forget()  # its index goes backwards
    rig.consul.add("orders", 7)
    assert await rig.ids() == ["orders-7"]
    await rig.catalog.poll()
    await rig.catalog.poll()
    indices = [index for path, index in rig.consul.asked if path.endswith("/orders")]
    assert indices.count(0) >= 2


@pytest.mark.parametrize(
    ("former", "header", "index"),
    [
        (0, "7", 7),
        (7, "7", 7),
        (7, "9", 9),
        (7, "6", 0),  # backwards: read everything
        (0, "0", 1),  # an error of the server, which must not become a loop
        (1, "0", 0),
        (7, "", 0),
        (7, "-1", 0),
        (7, "1e3", 0),
        (7, "٣", 0),
        (7, "9" * 30, 0),
        (0, str(2**63), 2**63),
    ],
)
def test_the_index_follows_consuls_rules(former: int, header: str, index: int) -> None:
    assert next_index(former, header) == index


async def test_maintenance_is_draining(rig: Rig) -> None:
    rig.consul.add("orders", 1)
    await rig.listing()
    async with http_caller() as call:
        url = f"{rig.consul.url}/v1/agent/service/maintenance/orders-1?enable=true"
        await call("PUT", url)
    (found,) = (await rig.listing()).instances
    assert found.draining


async def test_a_service_without_an_address_is_at_its_node(rig: Rig) -> None:
    rig.consul.add("orders", 1, Address="")
    (found,) = (await rig.listing()).instances
    assert found.address == "10.9.9.9:80"


async def test_a_proxy_of_consuls_mesh_is_no_instance(rig: Rig) -> None:
    rig.consul.add("basic-1", 1)
    rig.consul.add("basic-1-sidecar-proxy", 2, Kind="connect-proxy")
    assert await rig.ids() == ["basic-1-1"]


async def test_an_id_that_two_nodes_have_is_told_apart(rig: Rig) -> None:
    rig.consul.add("orders", 1, ID="web")
    rig.consul.add("basic-1", 2, ID="web", Node="n2")
    rig.consul.add("basic-1", 3)
    assert await rig.ids() == ["basic-1-3", "web:n1", "web:n2"]


async def test_one_poll_after_another_asks_no_more_than_once_for_an_answer(rig: Rig) -> None:
    for number in range(5):
        rig.consul.add(f"basic-{number}", number + 1)
    await rig.listing()
    before = len(rig.consul.asked)
    rig.consul.add("basic-0", 9)
    await rig.listing()
    assert len(rig.consul.asked) - before <= 2 * 6


async def test_more_services_than_the_bound_leave_out_those_that_came_last(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(consul_catalog, "MAX_SERVICES", 2)
    rig.consul.add("basic-7", 7)
    assert await rig.ids() == ["basic-7-7"]
    rig.consul.add("basic-0", 1)
    rig.consul.add("basic-1", 1)
    rig.consul.add("orders", 1)
    found = await rig.ids()
    while found != ["basic-7-7", "orders-1"]:
        found = await rig.ids()
    assert "only 2 are read" in caplog.text


async def test_an_answer_that_acls_shortened_is_logged(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.consul.filtered = True
    rig.consul.add("orders", 1)
    with caplog.at_level(logging.WARNING):
        await rig.listing()
    assert "the token in looma.token may not read" in caplog.text


async def test_an_agent_that_shows_nothing_without_a_token_is_logged(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.consul.hidden = True
    rig.consul.add("orders", 1)
    with caplog.at_level(logging.WARNING):
        assert await rig.ids() == []
    assert "set looma.token" in caplog.text


async def test_an_agent_with_acls_wants_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent("made-up") as consul:
        consul.add("orders", 1)
        rig = Rig(consul)
        with pytest.raises(PollError, match="HTTP status 403"):
            await rig.catalog.poll()
        await rig.catalog.close()
        monkeypatch.setenv("CONSUL_TOKEN", "made-up")
        client = RegistryClient(TlsFiles(), EnvTokens("CONSUL_TOKEN"), "X-Consul-Token", "")
        rig.catalog = ConsulCatalog(consul.url, ADMISSION, client, lambda: TARGETS)
        assert await rig.ids() == ["orders-1"]
        await rig.catalog.close()


async def test_an_agent_that_ends_is_an_error_and_its_successor_is_read(rig: Rig) -> None:
    rig.consul.add("orders", 1)
    await rig.listing()
    port = int(rig.consul.url.rpartition(":")[2])
    await rig.consul.stop()
    with pytest.raises(PollError):
        await rig.listing()
    successor = Consul(None, "1.20")
    await successor.start(port=port)
    try:
        successor.add("orders", 2)
        found: Listing | None = None
        while found is None or not found.instances:
            with contextlib.suppress(PollError):
                found = await rig.catalog.poll()
        assert [each.id for each in found.instances] == ["orders-2"]
    finally:
        await rig.catalog.close()
        await successor.stop()


async def test_a_change_that_comes_beside_an_error_is_not_lost(rig: Rig) -> None:
    rig.consul.add("orders", 1)
    rig.consul.add("basic-1", 1)
    await rig.listing()
    rig.consul.broken = "basic-1"
    rig.consul.add("orders", 2)
    failed = False
    found: Listing | None = None
    async with asyncio.timeout(20):
        while not failed or found is None:
            try:
                found = await rig.catalog.poll() or found
            except PollError:
                failed = True
                rig.consul.broken = ""
    assert sorted(each.id for each in found.instances) == ["basic-1-1", "orders-1", "orders-2"]


@pytest.mark.parametrize(
    "answer",
    [[7], [{}], [{"Node": [], "Service": 7, "Checks": "x"}], [{"Checks": [None, {"Status": []}]}]],
)
async def test_an_entry_of_another_form_is_refused(rig: Rig, answer: Any) -> None:
    rig.consul.add("orders", 1)
    rig.consul.instead = answer
    listing = await rig.listing()
    assert (listing.instances, listing.refused) == ((), 1)


@pytest.mark.parametrize("answer", ["text", 7, None, {}])
async def test_an_answer_of_another_form_is_an_error(rig: Rig, answer: Any) -> None:
    rig.consul.add("orders", 1)
    rig.consul.instead = answer
    with pytest.raises(PollError, match="not a list"):
        await rig.listing()


async def test_a_large_answer_makes_the_next_one_wait(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consul_catalog, "BYTES_PER_SECOND", 10)
    rig.consul.add("orders", 1)
    await rig.listing()
    assert rig.catalog.interval > 10

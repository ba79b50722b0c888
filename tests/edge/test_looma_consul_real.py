"""A gateway reads a real Consul, which is killed and started, with its data and without.

Skipped where there is no ``consul``. It says whether the stand-in of the other tests is right.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from sidecar.core.placement.directory import Health, Instance
from sidecar.looma.consul import ConsulRegistry
from sidecar.looma.directory import consul_catalog
from sidecar.looma.directory.client import RegistryClient
from sidecar.looma.directory.consul_catalog import ConsulCatalog
from sidecar.looma.directory.known import Known, Listing
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.directory.reader import Reader
from sidecar.looma.registry import Ok, Unregistered
from sidecar.looma.token import EnvTokens
from sidecar.net.trust import TlsFiles
from sidecar.upstream.state import UpstreamState
from tests.edge.consul_server import MANAGEMENT, ConsulServer, consul_server
from tests.edge.looma_rig import REPORT, SERVICE, http_caller
from tests.support.waiting import eventually

ADMISSION = Admission(networks(["10.0.0.0/8"]), fixed=frozenset({"zervi-auth"}))
TARGETS = ["orders", "basic-*", "zervi-auth"]


def catalog_of(consul: ConsulServer, client: RegistryClient | None = None) -> ConsulCatalog:
    client = RegistryClient(TlsFiles()) if client is None else client
    return ConsulCatalog(consul.url, ADMISSION, client, lambda: TARGETS)


@pytest.fixture
async def consul(tmp_path: Path) -> AsyncIterator[ConsulServer]:
    async with consul_server(tmp_path) as found:
        yield found


async def until(catalog: ConsulCatalog, wanted: Callable[[Listing], bool]) -> Listing:
    """Return the first listing that is as wanted: Consul may tell of a change in parts."""
    async with asyncio.timeout(30):
        while True:
            listing = await catalog.poll()
            if listing is not None and wanted(listing):
                return listing


def ids(listing: Listing) -> set[str]:
    return {each.id for each in listing.instances}


async def test_what_a_sidecar_reports_is_an_instance_until_it_leaves(consul: ConsulServer) -> None:
    catalog = catalog_of(consul)
    labels = {"zone": "a", "capacity": "3"}
    report = REPORT._replace(service=SERVICE._replace(labels=labels))
    async with http_caller() as caller:
        registry = ConsulRegistry(consul.url, SERVICE.id, 300.0, caller)
        assert isinstance(await registry.heartbeat(report), Unregistered)
        assert isinstance(await registry.register(report), Ok)
        found = await until(catalog, lambda each: bool(each.instances))
        assert found.instances == (
            Instance(
                SERVICE.id, "basic-server", "10.1.2.3:10000", Health.HEALTHY, zone="a", capacity=3,
                labels=labels,
            ),
        )  # fmt: skip
        for state, health in (
            (UpstreamState.WARNING, Health.WARNING),
            (UpstreamState.CRITICAL, Health.CRITICAL),
            (UpstreamState.HEALTHY, Health.HEALTHY),
        ):
            assert isinstance(await registry.heartbeat(report._replace(upstream=state)), Ok)
            await until(catalog, lambda each: [one.health for one in each.instances] == [health])  # noqa: B023 -- awaited in this turn
        assert isinstance(await registry.deregister(), Ok)
        await until(catalog, lambda each: not each.instances)
        assert isinstance(await registry.deregister(), Ok), "an unknown service is a success"
    await catalog.close()


async def test_only_services_of_the_targets_are_instances_and_maintenance_drains_them(
    consul: ConsulServer,
) -> None:
    for name in ("orders", "basic-1", "zervi-auth", "ordersx"):
        await consul.add(name, 1)
    proxy = {"DestinationServiceName": "basic-1"}
    await consul.add("basic-1-sidecar-proxy", 2, Kind="connect-proxy", Proxy=proxy)
    catalog = catalog_of(consul)
    await until(catalog, lambda each: ids(each) == {"orders-1", "basic-1-1"})
    await consul.put("/v1/agent/service/maintenance/orders-1?enable=true")
    await until(catalog, lambda each: {one.draining for one in each.instances} == {True, False})
    await consul.put("/v1/agent/maintenance?enable=true")
    await until(catalog, lambda each: all(one.draining for one in each.instances))
    await catalog.close()


async def test_an_id_at_two_nodes_is_two_instances(consul: ConsulServer) -> None:
    await consul.add("orders", 1, ID="web")
    service = {"ID": "web", "Service": "orders", "Address": "10.0.0.2", "Port": 80}
    other = {"Node": "n2", "Address": "10.9.9.9", "Service": service}
    await consul.put("/v1/catalog/register", other)
    catalog = catalog_of(consul)
    await until(catalog, lambda each: ids(each) == {"web:n1", "web:n2"})
    await catalog.close()


async def test_a_query_waits_until_something_changes(
    consul: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consul_catalog, "WAIT_SECONDS", 1)
    await consul.add("orders", 1)
    catalog = catalog_of(consul)
    await until(catalog, lambda each: ids(each) == {"orders-1"})
    loop = asyncio.get_running_loop()
    begun, polls = loop.time(), 0
    while loop.time() - begun < 2.0:
        assert await catalog.poll() is None
        polls += 1
    assert polls < 20, "it does not answer immediately"
    await catalog.close()


async def test_a_directory_survives_consuls_death_with_and_without_its_data(
    consul: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consul_catalog, "INTERVAL", 0.05)
    monkeypatch.setattr("sidecar.looma.directory.reader.MAX_FAILING", 0.5)
    known, failures = Known(60.0), list[str]()
    now = asyncio.get_running_loop().time

    def take(listing: Listing | None) -> None:
        if listing is not None:
            known.take(listing, now())

    def has(*wanted: str) -> Callable[[], bool]:
        return lambda: (
            {each.id for each in known.directory(now()).instances if not each.vanished}
            == set(wanted)
        )

    await consul.add("orders", 1)
    await consul.add("orders", 2)
    reader = Reader(catalog_of(consul), take, failures.append, Random(7))
    running = asyncio.create_task(reader.run())
    try:
        await eventually(has("orders-1", "orders-2"), "both are known")
        for wiped in (False, True):
            failures.clear()
            await consul.kill()
            await eventually(lambda: bool(failures), "consul is gone")
            assert has("orders-1", "orders-2")(), "the last listing stays"
            if wiped:
                consul.wipe()
            await consul.start()
            for number in (1, 2) if wiped else ():
                await consul.add("orders", number)  # the nodes register again
            await consul.add("orders", 3)
            await eventually(has("orders-1", "orders-2", "orders-3"), "it goes on", within=30)
            await consul.put("/v1/agent/service/deregister/orders-3")
            await eventually(has("orders-1", "orders-2"), "it is gone", within=30)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_with_acls_the_token_decides_what_is_known_and_the_log_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CONSUL_TOKEN", MANAGEMENT)
    async with consul_server(tmp_path, acls=True) as consul:
        await consul.add("orders", 1)
        client = RegistryClient(TlsFiles(), EnvTokens("CONSUL_TOKEN"), "X-Consul-Token", "")
        allowed = catalog_of(consul, client)
        await until(allowed, lambda each: ids(each) == {"orders-1"})
        await allowed.close()
        anonymous = catalog_of(consul)
        with caplog.at_level(logging.WARNING):
            listing = await anonymous.poll()
        assert listing is not None
        assert listing.instances == ()
        assert "Consul shows nothing to a gateway without a token" in caplog.text
        await anonymous.close()
        orders = 'service_prefix "orders" {policy = "read"} node_prefix "" {policy = "read"}'
        await consul.put("/v1/acl/policy", {"Name": "orders", "Rules": orders})
        made = await consul.put("/v1/acl/token", {"Policies": [{"Name": "orders"}]})
        monkeypatch.setenv("CONSUL_TOKEN", made["SecretID"])
        await consul.add("basic-1", 1)
        partly = catalog_of(
            consul, RegistryClient(TlsFiles(), EnvTokens("CONSUL_TOKEN"), "X-Consul-Token", "")
        )
        with caplog.at_level(logging.WARNING):
            await until(partly, lambda each: ids(each) == {"orders-1"})
        assert "the token in looma.token may not read" in caplog.text
        await partly.close()

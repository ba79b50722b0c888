"""What a gateway counts, and when it is ready."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.app import gateway, gateway_directory
from sidecar.app.gateway import Gateway
from sidecar.config import Config, load
from sidecar.core.decision import Allow, Decision, DecisionRecord, Deny
from sidecar.core.placement.directory import Directory, Instance
from sidecar.core.placement.directory import Health as InstanceHealth
from sidecar.core.placement.place import Placements
from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route
from sidecar.core.tokens.principal import Kind, Principal
from sidecar.core.tokens.verify import Verified
from sidecar.looma.directory.known import Listing
from sidecar.ops import gateway_metrics
from sidecar.ops.exposition import render
from sidecar.ops.gateway_metrics import MAX_SERIES, OTHER, GatewayMetrics, GatewayValues
from sidecar.ops.metrics import Metrics
from sidecar.ops.readiness import Health, State
from tests.support.waiting import eventually

ROUTE = Route(0, "x", "/x", target="basic-*")


def served(subject: str, *servers: str, at: float = 60.0, route: Route = ROUTE) -> DecisionRecord:
    principal = Principal(Kind.USER, subject, "zervi")
    verified = Verified(b"", principal, 0, None, 0.0, 0.0, 0.0, ())
    return record(Allow(Reason.OK, route, verified, servers=servers), at)


def record(decision: Decision, at: float = 60.0) -> DecisionRecord:
    return DecisionRecord(at, 0.0, "", decision, None, "")


def values(metrics: GatewayMetrics, wall: float = 60.0) -> GatewayValues:
    return metrics.values(0.0, wall)


def test_picks_are_counted_by_target_and_result() -> None:
    metrics = GatewayMetrics()
    fixed = replace(ROUTE, target="zervi")
    metrics.records([served("7", "10.0.0.1:80", "10.0.0.2:80")] * 2)
    metrics.records([record(Allow(Reason.PUBLIC, ROUTE)), served("7", route=fixed)])
    metrics.records([record(Deny(Reason.NO_UPSTREAM, ROUTE)), record(Deny(Reason.NO_ROUTE))])
    assert values(metrics).picks == {
        ("basic-*", "placed"): 2,
        ("basic-*", "any"): 1,
        ("zervi", "any"): 1,
        ("basic-*", "none"): 1,
    }


def test_a_user_counts_once_in_a_minute_for_the_instance_that_is_named_first() -> None:
    metrics = GatewayMetrics()
    one, other = "10.0.0.1:80", "10.0.0.2:80"
    metrics.records(
        [served("7", one, other), served("7", one), served("8", one), served("9", other)]
    )
    assert values(metrics, 119.9).users == {}, "the minute is not over"
    assert values(metrics, 120.0).users == {("basic-*", one): 2, ("basic-*", other): 1}
    metrics.records([served("7", one, at=121.0)])
    assert values(metrics, 180.0).users == {("basic-*", one): 1}
    assert values(metrics, 240.0).users == {}


def test_users_and_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_metrics, "MAX_USERS", 5)
    metrics = GatewayMetrics()
    metrics.records([served(str(each), "10.0.0.1:80") for each in range(100)])
    assert values(metrics, 120.0).users == {("basic-*", "10.0.0.1:80"): 5}
    many = [replace(ROUTE, target=f"t{each}") for each in range(MAX_SERIES + 10)]
    metrics.records([record(Deny(Reason.NO_UPSTREAM, route)) for route in many])
    picks = values(metrics).picks
    assert len(picks) == MAX_SERIES + 1
    assert picks[OTHER, OTHER] == 11


def test_instances_are_counted_by_target_and_health() -> None:
    metrics = GatewayMetrics()
    base = Instance("a", "basic-1", "10.0.0.1:80")
    instances = (
        base._replace(health=InstanceHealth.HEALTHY),
        base._replace(draining=True),
        base._replace(ready=False),
        base._replace(vanished=True),
        base,
        base._replace(service="zervi"),
    )
    metrics.directory(["basic-*", "none"], Directory(instances))
    wanted = ("healthy", "draining", "not_ready", "vanished", "unknown")
    assert values(metrics).instances == {("basic-*", state): 1 for state in wanted}


def test_a_scrape_shows_them_and_without_a_gateway_none() -> None:
    metrics = Metrics("1.0")
    assert b"zervi_sidecar_gateway" not in render(metrics.values())
    gateway = GatewayMetrics()
    gateway.listed(100.0, refused=3)
    gateway.files(2, failed=1)
    gateway.records([served("7", "10.0.0.1:80")])
    metrics.gateway = lambda: gateway.values(107.5, 120.0)
    found = {
        (sample.name, *map(sample.labels.get, sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(render(metrics.values()).decode())
        for sample in family.samples
        if sample.name.startswith("zervi_sidecar_gateway")
    }
    assert found == {
        ("zervi_sidecar_gateway_picks_total", "placed", "basic-*"): 1,
        ("zervi_sidecar_gateway_users", "10.0.0.1:80", "basic-*"): 1,
        ("zervi_sidecar_gateway_directory_age_seconds",): 7.5,
        ("zervi_sidecar_gateway_refused_entries_total",): 3,
        ("zervi_sidecar_gateway_files_total", "written"): 2,
        ("zervi_sidecar_gateway_files_total", "failed"): 1,
    }


def test_ready_needs_the_first_listing_and_stays() -> None:
    health = Health(["zervi"], directory=True)
    health.set("policy", State.READY)
    health.set("issuer:zervi", State.READY)
    assert not health.readiness()["sidecar"]
    assert health.overall.detail == "the registry has not answered yet"
    health.set("directory", State.READY)
    assert health.readiness()["sidecar"]
    health.set("directory", State.DEGRADED, "9 s old")
    assert (health.ready, health.overall.state) == (True, State.DEGRADED)


LISTED = Listing((Instance("b1", "basic-1", "10.0.0.1:80", InstanceHealth.HEALTHY),), refused=2)


class Started:
    """A gateway whose registry never answers by itself; a test calls ``take`` and ``fail``."""

    def __init__(self, config: Config) -> None:
        section = config.settings.gateway
        assert section is not None
        self.health = Health(["zervi"], directory=True)
        self.placements: asyncio.Queue[Placements] = asyncio.Queue()
        self.gateway = Gateway(
            config, section, lambda: config.policy, self.placements.put_nowait, self.health
        )
        reader: Any = self.gateway._registry.reader
        self.take, self.fail = reader._take, reader._fail
        reader.run = asyncio.Event().wait

    async def start(self, former: Gateway | None = None) -> "Started":
        await self.gateway.start(former)
        return self

    def shown(self) -> tuple[State, str]:
        found = self.health.components["directory"]
        return found.state, found.detail


@pytest.fixture(autouse=True)
def silent_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait neither for the answer of a registry that gives none nor for an Envoy."""
    monkeypatch.setattr(gateway_directory, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(gateway, "SETTLE_SECONDS", 0.02)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "routes.yaml").write_text(
        "api_gateway: {routes: [{path: /x, target: 'basic-*'}]}\n"
    )
    path = tmp_path / "sidecar.yaml"
    path.write_text(
        "zervi: {issuers: [{issuer: zervi, jwks_url: 'http://127.0.0.1:1/keys'}]}\n"
        "policy: {file: routes.yaml}\n"
        "looma: {url: 'http://127.0.0.1:1', service: {name: g, address: 10.0.0.9, port: 1}}\n"
        f"gateway: {{envoy_dir: {tmp_path / 'envoy'}, allow_networks: [10.0.0.0/8], "
        "unsafe_plaintext_targets: true}\n"
    )
    return load(path, {})


@pytest.fixture
async def started(config: Config) -> AsyncIterator[Started]:
    found = await Started(config).start()
    yield found
    await found.gateway.close()


async def test_until_the_registry_answers_no_one_is_placed_and_envoys_files_stay(
    config: Config, tmp_path: Path
) -> None:
    files = tmp_path / "envoy"
    files.mkdir()
    (files / "routes.json").write_text("of an earlier run")
    started = await Started(config).start()
    try:
        assert (await started.placements.get()).place("basic-*", "7") == ()
        started.fail("HTTP status 500")
        assert started.shown() == (State.WAITING, "HTTP status 500")
        started.take(LISTED)
        while (await started.placements.get()).place("basic-*", "7") != ("10.0.0.1:80",):
            pass
        assert "basic-*" in (files / "routes.json").read_text()
        await eventually(lambda: started.shown() == (State.READY, "listed"), "it is ready")
        assert started.gateway.values().refused == 2
    finally:
        await started.gateway.close()


async def test_the_first_run_writes_files_so_that_envoy_can_start(
    started: Started, tmp_path: Path
) -> None:
    routes = tmp_path / "envoy" / "routes.json"
    await eventually(routes.exists, "the files are written before the registry answers")
    assert json.loads(routes.read_text())["resources"]


async def test_the_gateway_is_ready_when_users_can_be_placed(started: Started) -> None:
    """Envoy must know the addresses first; until then a user would be denied."""
    started.take(LISTED)
    assert started.shown() == (State.WAITING, "Envoy's files are not written yet")
    placements = None
    await eventually(lambda: started.shown()[0] is State.READY, "it is ready")
    while not started.placements.empty():
        placements = started.placements.get_nowait()
    assert placements is not None
    assert placements.place("basic-*", "7") == ("10.0.0.1:80",)


async def test_an_address_is_named_only_when_envoy_has_had_time_to_read_it(
    started: Started, tmp_path: Path
) -> None:
    """An Envoy that still reads the former file would let its fallback choose."""
    started.take(LISTED)
    await eventually(lambda: started.shown()[0] is State.READY, "it is ready")
    while not started.placements.empty():
        started.placements.get_nowait()
    new = Instance("b2", "basic-2", "10.0.0.2:80", InstanceHealth.HEALTHY)
    started.take(Listing((*LISTED.instances, new)))
    before = await started.placements.get()
    assert before.place("basic-*", "7") == ("10.0.0.1:80",)
    after = await started.placements.get()
    assert set(after.place("basic-*", "7")) == {"10.0.0.1:80", "10.0.0.2:80"}
    assert any("10.0.0.2" in path.read_text() for path in (tmp_path / "envoy").iterdir())


async def test_a_registry_that_fails_later_degrades_with_the_listings_age(
    started: Started,
) -> None:
    started.take(LISTED)
    await eventually(lambda: started.shown()[0] is State.READY, "it is ready")
    started.fail("HTTP status 500")
    state, detail = started.shown()
    assert state is State.DEGRADED
    assert detail.endswith(" s old: HTTP status 500")
    started.take(None)
    assert started.shown() == (State.READY, "listed")


async def test_files_that_cannot_be_written_show_until_they_are(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "envoy").write_text("a file, not a directory")
    started = await Started(config).start()
    try:
        started.take(LISTED)
        while started.shown()[0] is not State.DEGRADED:
            await started.health.changed()
        assert started.shown()[1].startswith("Envoy's files are not written: ")
        started.take(None)
        assert started.shown()[0] is State.DEGRADED, "a listing does not write files"
        assert started.gateway.values().files["failed",] == 1
        (tmp_path / "envoy").unlink()
        while started.shown()[0] is not State.READY:
            await started.health.changed()
        assert started.gateway.values().files["written",] == 3
    finally:
        await started.gateway.close()


async def test_an_error_inside_an_update_does_not_end_the_updates(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, bytes]:
        raise ValueError("made up")

    monkeypatch.setattr(gateway, "SETTLE_SECONDS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(gateway, "contents", broken)
        started = await Started(config).start()
        await started.placements.get()
        await started.placements.get()  # it tries again
    try:
        started.take(LISTED)
        while (await started.placements.get()).place("basic-*", "7") != ("10.0.0.1:80",):
            pass
        assert "basic-*" in (tmp_path / "envoy" / "routes.json").read_text()
    finally:
        await started.gateway.close()

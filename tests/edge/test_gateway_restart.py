"""A gateway that reloads or restarts knows its directory before the first Check."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.app import gateway, gateway_directory, gateway_snapshot
from sidecar.app.gateway import Gateway
from sidecar.config import Config, load
from sidecar.core.placement.directory import Allocation, Directory, Health, Instance
from sidecar.core.placement.place import Placements
from sidecar.gateway.files import FileSettings, addresses, contents
from sidecar.gateway.writer import FileWriter
from sidecar.looma.directory import snapshot
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.directory.snapshot import MAX_AGE, decode, encode
from sidecar.ops.readiness import Health as Readiness
from sidecar.ops.readiness import State
from tests.edge.consul_stand_in import Consul
from tests.support.waiting import eventually

TARGET = "basic-*"
SERVICE = {"name": "g", "address": "10.0.0.9", "port": 1}
ONE = Instance("b1", "basic-1", "10.0.0.1:80", Health.HEALTHY, labels={"zone": "a"}, zone="a")
SIX = Instance("b6", "basic-6", "[fd00::6]:80", Health.WARNING)
LISTED = Listing((ONE, SIX), allocations={"7": (Allocation("basic-6", "b6"),)})


@pytest.fixture(autouse=True)
def silent_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait neither for the answer of a registry that gives none nor for an Envoy."""
    monkeypatch.setattr(gateway_directory, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(gateway, "SETTLE_SECONDS", 0.02)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Config]:
    def write(**gateway: Any) -> Config:
        url, kind = gateway.pop("url", "http://127.0.0.1:1"), gateway.pop("kind", "http")
        (tmp_path / "routes.yaml").write_text(
            "api_gateway: {routes: [{path: /x, target: 'basic-*'}]}\n"
        )
        section = {
            "envoy_dir": str(tmp_path / "envoy"),
            "allow_networks": ["10.0.0.0/8", "fd00::/8"],
            "unsafe_plaintext_targets": True,
            "snapshot_file": "directory.json",
            **gateway,
        }
        document = {
            "zervi": {"issuers": [{"issuer": "zervi", "jwks_url": "http://127.0.0.1:1/keys"}]},
            "policy": {"file": "routes.yaml"},
            "looma": {"kind": kind, "url": url, "service": SERVICE},
            "gateway": section,
        }
        path = tmp_path / "sidecar.yaml"
        path.write_text(yaml.safe_dump(document))
        return load(path, {})

    return write


class Started:
    """A gateway whose registry never answers by itself; a test calls ``take`` and ``fail``."""

    def __init__(self, config: Config, *, silent: bool = True) -> None:
        assert config.settings.gateway is not None
        self.health = Readiness(["zervi"], directory=True)
        self.placed: list[Placements] = []
        self.gateway = Gateway(
            config, config.settings.gateway, lambda: config.policy, self.placed.append, self.health
        )
        reader: Any = self.gateway._registry.reader
        self.take, self.fail = reader._take, reader._fail
        if not silent:
            return
        reader.run = asyncio.Event().wait
        assigning: Any = self.gateway._registry.assigning
        if assigning is not None:
            self.assign, self.fail_assigning = assigning._take, assigning._fail
            assigning.run = asyncio.Event().wait

    async def start(self, former: "Started | None" = None) -> "Started":
        if former is not None:
            await former.gateway.close()
        await self.gateway.start(None if former is None else former.gateway)
        return self

    def place(self, user: str) -> tuple[str, ...]:
        return self.placed[-1].place(TARGET, user)

    def shown(self) -> tuple[State, str]:
        found = self.health.components["directory"]
        return found.state, found.detail


@pytest.fixture
async def first(configured: Callable[..., Config]) -> AsyncIterator[Started]:
    """Yield a gateway that has a listing, which Envoy's files have too."""
    started = await Started(configured()).start()
    started.take(LISTED)
    await eventually(lambda: len(started.place("7")) == 2, "the files are written")
    yield started
    await started.gateway.close()


async def test_a_reload_keeps_the_directory_and_what_was_counted(
    first: Started, configured: Callable[..., Config]
) -> None:
    first.fail("HTTP status 500")
    second = await Started(configured(zone="a")).start(first)
    try:
        assert len(second.placed) == 1, "before any Check is decided by it"
        assert second.place("7") == ("[fd00::6]:80", "10.0.0.1:80")
        assert second.shown()[0] is State.DEGRADED
        assert second.gateway.values().files["written",] == 3
    finally:
        await second.gateway.close()


async def test_a_reload_drops_what_the_new_configuration_refuses(
    first: Started, configured: Callable[..., Config]
) -> None:
    second = await Started(configured(allow_networks=["10.0.0.0/8"])).start(first)
    try:
        assert second.place("7") == ("10.0.0.1:80",)
    finally:
        await second.gateway.close()


async def test_another_registry_replaces_the_directory_with_its_first_answer(
    first: Started, configured: Callable[..., Config], tmp_path: Path
) -> None:
    before = (tmp_path / "directory.json").exists()
    second = await Started(configured(url="http://127.0.0.1:2")).start(first)
    try:
        assert len(second.place("7")) == 2
        assert "`looma` changed" in second.shown()[1]
        second.take(Listing((ONE,)))
        await eventually(lambda: second.place("7") == ("10.0.0.1:80",), "b6 has not vanished")
        assert second.shown() == (State.READY, "listed")
    finally:
        await second.gateway.close()
    assert not before


async def test_a_restart_places_users_as_before_while_the_registry_is_down(
    first: Started, configured: Callable[..., Config]
) -> None:
    placed = {user: first.place(user) for user in map(str, range(20))}
    await first.gateway.close()
    second = await Started(configured()).start()
    try:
        assert {user: second.place(user) for user in placed} == placed
        assert second.shown()[0] is State.DEGRADED
        assert second.shown()[1].endswith(" s old: from gateway.snapshot_file")
        second.fail("no connection")
        assert second.shown()[1].endswith(" s old: no connection")
        second.take(None)
        assert second.shown() == (State.READY, "listed")
    finally:
        await second.gateway.close()


async def test_the_age_of_a_restored_directory_is_shown(
    first: Started, configured: Callable[..., Config]
) -> None:
    await first.gateway.close()
    second = await Started(configured()).start()
    try:
        age = second.gateway.values().directory_age
        assert age is not None
        assert age >= 0
    finally:
        await second.gateway.close()


async def test_allocations_of_a_looma_beside_etcd_are_waited_for_and_kept(
    configured: Callable[..., Config],
) -> None:
    allocations = {"url": "http://127.0.0.1:3"}
    started = await Started(configured(kind="etcd", allocations=allocations)).start()
    assigned = Listing((), complete=False, allocations=LISTED.allocations)
    try:
        started.take(Listing((ONE, SIX)))
        started.fail_assigning("HTTP status 500")
        assert started.shown() == (State.WAITING, "allocations: HTTP status 500")
        started.assign(assigned)
        await eventually(lambda: started.shown() == (State.READY, "listed"), "it is ready")
        assert started.place("7") == ("[fd00::6]:80", "10.0.0.1:80")
        started.fail_assigning("no connection")
        assert started.shown() == (State.DEGRADED, "allocations: no connection")
        assert started.place("7")[0] == "[fd00::6]:80"
        started.assign(None)
        assert started.shown() == (State.READY, "listed")
        again = {"kind": "etcd", "url": "http://127.0.0.1:2", "allocations": allocations}
        second = await Started(configured(**again)).start(started)
        second.take(Listing((ONE, SIX)))
        await eventually(lambda: len(second.placed) >= 2, "the new registry's listing is used")
        assert second.place("7")[0] == "[fd00::6]:80"
        await second.gateway.close()
    finally:
        await started.gateway.close()


async def test_a_gateway_follows_consul_and_says_how_old_its_directory_is(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # it waits for the first answer
    consul = Consul(None, "1.20")
    await consul.start()
    consul.add("basic-1", 1)
    started = Started(configured(kind="consul", url=consul.url), silent=False)
    await started.start()
    try:
        await eventually(lambda: started.shown() == (State.READY, "listed"), "it is ready")
        assert started.place("7") == ("10.0.0.1:80",)
        consul.add("basic-2", 2)
        await eventually(lambda: len(started.place("7")) == 2, "the new instance is placed")
        await consul.stop()
        await eventually(lambda: started.shown()[0] is State.DEGRADED, "the agent is gone")
        assert len(started.place("7")) == 2
    finally:
        await started.gateway.close()
        await consul.stop()


async def test_a_change_is_saved_while_the_gateway_runs(
    configured: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_snapshot, "SAVE_SECONDS", 0.01)
    started = await Started(configured()).start()
    try:
        await asyncio.sleep(0.03)  # three times at which it would be saved
        assert not (tmp_path / "directory.json").exists(), "nothing was listed yet"
        started.take(LISTED)
        await eventually((tmp_path / "directory.json").exists, "it is saved")
    finally:
        await started.gateway.close()
    assert (tmp_path / "directory.json").stat().st_mode & 0o777 == 0o600


async def test_a_full_disk_stops_nothing(
    configured: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gateway_snapshot, "write", full)
    started = await Started(configured()).start()
    started.take(LISTED)
    await started.gateway.close()
    assert "cannot be written: No space left" in caplog.text
    assert not (tmp_path / "directory.json").exists()


ADMISSION = Admission(networks(["10.0.0.0/8", "fd00::/8"]))
DIRECTORY = Directory((ONE, SIX), LISTED.allocations or {})


def test_a_directory_is_read_as_it_was_written() -> None:
    listing, age = decode(encode(DIRECTORY, "r", 1000.0), "r", 1060.0, ADMISSION)
    assert (listing.instances, listing.allocations, age) == (
        DIRECTORY.instances,
        DIRECTORY.allocations,
        60.0,
    )


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(encode(DIRECTORY, "r", 1000.0)), **fields}).encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "another registry's"),
        (changed(registry="other"), "another registry's"),
        (changed(listed_at="1000"), "not a time"),
        (changed(listed_at=None), "not a time"),
        (changed(listed_at=float("nan")), "not a time"),
        (changed(listed_at=1e400), "not a time"),
        (changed(listed_at=10**400), "not a time"),
        (changed(listed_at=1000.1), "future"),
        (changed(services=None), "no list"),
        (changed(services={}), "no list"),
        (changed(allocations=7), "no list"),
    ],
)
def test_a_text_of_another_form_or_time_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(PollError, match=words):
        decode(text, "r", 1000.0, ADMISSION)


def test_a_directory_is_too_old_after_an_hour() -> None:
    text = encode(DIRECTORY, "r", 1000.0)
    assert decode(text, "r", 1000.0 + MAX_AGE, ADMISSION)
    with pytest.raises(PollError, match="older"):
        decode(text, "r", 1001.0 + MAX_AGE, ADMISSION)


def test_what_is_not_admitted_now_is_left_out() -> None:
    listing, _ = decode(
        encode(DIRECTORY, "r", 1000.0), "r", 1000.0, Admission(networks(["10.0.0.0/8"]))
    )
    assert listing.instances == (ONE,)
    hostile = [{**json.loads(encode(DIRECTORY, "r", 0))["services"][0], "address": "169.254.1.1"}]
    listing, _ = decode(changed(services=[*hostile, 7, None]), "r", 1000.0, ADMISSION)
    assert (listing.instances, listing.refused) == ((), 3)


def test_what_would_be_too_long_to_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_BODY_BYTES", 100)
    with pytest.raises(PollError, match="longer than 100"):
        encode(DIRECTORY, "r", 0.0)


@pytest.mark.parametrize("kind", ["writable", "directory", "fifo", "link"])
async def test_a_file_that_others_could_have_written_is_not_read(
    configured: Callable[..., Config],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    path = tmp_path / "directory.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("elsewhere")
    else:
        path.write_bytes(encode(DIRECTORY, "r", 0.0))
        path.chmod(0o666)
    started = await Started(configured()).start()
    try:
        assert started.place("7") == ()
        assert "gateway.snapshot_file is not used" in caplog.text
    finally:
        await started.gateway.close()


def test_the_addresses_of_envoys_files_are_read_and_others_are_not(tmp_path: Path) -> None:
    FileWriter(tmp_path).write(contents([TARGET], DIRECTORY, FileSettings("/run")))
    for number, text in enumerate(("", "{}", '{"resources": [7]}', '{"resources": []}', "\udcff")):
        name = tmp_path / f"endpoints-{number}.json"
        name.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert addresses(tmp_path) == {ONE.address, SIX.address}
    assert addresses(tmp_path / "nowhere") == frozenset()

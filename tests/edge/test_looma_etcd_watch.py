"""A gateway reads the nodes that report to etcd, from a real one that is killed and started."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from sidecar.core.placement.directory import Health, Instance
from sidecar.looma.directory import etcd_watch
from sidecar.looma.directory.client import RegistryClient
from sidecar.looma.directory.etcd_watch import EtcdWatch
from sidecar.looma.directory.known import Known, Listing
from sidecar.looma.directory.listing import PollError
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.directory.reader import Reader
from sidecar.looma.etcd import EtcdRegistry
from sidecar.looma.token import FileTokens
from sidecar.net.trust import TlsFiles
from sidecar.upstream.state import UpstreamState
from tests.edge.etcd_server import Etcd, etcd_server
from tests.edge.looma_rig import REPORT, SERVICE, http_caller
from tests.support.waiting import eventually

ADMISSION = Admission(networks(["10.0.0.0/8"]))
PREFIX = "/looma/services/"


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    async with etcd_server(tmp_path) as etcd:
        yield etcd


def watch_of(etcd: Etcd) -> EtcdWatch:
    return EtcdWatch(etcd.url, ADMISSION, RegistryClient(TlsFiles()))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def put(etcd: Etcd, name: str, **fields: Any) -> None:
    value = {"service_name": "orders", "address": "10.0.0.1", "port": 80, **fields}
    body = {"key": _base64(PREFIX + name), "value": _base64(json.dumps(value))}
    await etcd.ask("/v3/kv/put", body)


async def delete(etcd: Etcd, name: str) -> None:
    await etcd.ask("/v3/kv/deleterange", {"key": _base64(PREFIX + name)})


async def listing_of(watch: EtcdWatch) -> Listing:
    found = await watch.poll()
    assert found is not None
    return found


def ids(listing: Listing) -> list[str]:
    return sorted(each.id for each in listing.instances)


async def test_what_a_sidecar_reports_is_an_instance_and_its_leaving_is_believed(
    etcd: Etcd,
) -> None:
    watch = watch_of(etcd)
    async with http_caller() as caller:
        registry = EtcdRegistry(etcd.url, SERVICE.id, 60.0, caller)
        labelled = REPORT._replace(service=SERVICE._replace(labels={"zone": "a", "capacity": "3"}))
        await registry.register(labelled)
        (found,) = (await listing_of(watch)).instances
        assert found == Instance(
            SERVICE.id,
            "basic-server",
            "10.1.2.3:10000",
            Health.HEALTHY,
            zone="a",
            capacity=3,
            labels={"zone": "a", "capacity": "3"},
        )
        await registry.heartbeat(labelled._replace(upstream=UpstreamState.CRITICAL))
        listing = await listing_of(watch)
        assert [each.health for each in listing.instances] == [Health.CRITICAL]
        assert not listing.complete
        await registry.deregister()
        listing = await listing_of(watch)
    assert listing.instances == ()
    assert listing.removed == listing.left == {SERVICE.id}


async def test_a_key_that_goes_without_a_word_has_not_left(etcd: Etcd) -> None:
    watch = watch_of(etcd)
    await put(etcd, "a")
    await listing_of(watch)
    await delete(etcd, "a")
    listing = await listing_of(watch)
    assert listing.removed == {"a"}
    assert not listing.left


async def test_nothing_is_missed_between_two_calls(etcd: Etcd) -> None:
    watch, known = watch_of(etcd), Known(60.0)
    for name in "abc":
        await put(etcd, name)
    known.take(await listing_of(watch), 0.0)
    await delete(etcd, "a")
    await put(etcd, "b", address="10.0.0.9")
    await put(etcd, "d")
    await put(etcd, "d", health_status="warning")
    known.take(await listing_of(watch), 1.0)
    found = {each.id: (each.address, each.health) for each in known.directory(1.0).instances}
    assert found == {
        "b": ("10.0.0.9:80", Health.UNKNOWN),
        "c": ("10.0.0.1:80", Health.UNKNOWN),
        "d": ("10.0.0.1:80", Health.WARNING),
    }


async def test_a_value_that_is_written_again_changes_nothing(etcd: Etcd) -> None:
    watch, known = watch_of(etcd), Known(60.0)
    await put(etcd, "a", timestamp="1")
    assert known.take(await listing_of(watch), 0.0)
    await put(etcd, "a", timestamp="2")
    assert not known.take(await listing_of(watch), 1.0)


async def test_many_keys_come_in_pages_of_one_revision(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, "PAGE", 3)
    names = [f"n{number}" for number in range(10)]
    for name in names:
        await put(etcd, name)
    assert ids(await listing_of(watch_of(etcd))) == names


async def test_more_keys_than_the_bound_are_an_error(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, "MAX_INSTANCES", 2)
    for name in "abc":
        await put(etcd, name)
    with pytest.raises(PollError, match="more than 2"):
        await watch_of(etcd).poll()


async def test_after_a_compaction_everything_is_listed(etcd: Etcd) -> None:
    watch = watch_of(etcd)
    await put(etcd, "a")
    await listing_of(watch)
    await delete(etcd, "a")
    for number in range(3):
        await put(etcd, f"n{number}")
    revision = (await etcd.ask("/v3/kv/range", {"key": _base64("x")}))["header"]["revision"]
    await etcd.ask("/v3/kv/compaction", {"revision": revision, "physical": True})
    listing = await listing_of(watch)
    assert (listing.complete, ids(listing)) == (True, ["n0", "n1", "n2"])


async def test_a_quiet_etcd_is_asked_whether_it_works(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, "WATCH_SECONDS", 0.05)
    watch = watch_of(etcd)
    await put(etcd, "a")
    await listing_of(watch)
    assert await watch.poll() is None
    assert await watch.poll() is None
    await put(etcd, "b")
    monkeypatch.undo()
    assert ids(await listing_of(watch)) == ["b"]


@contextlib.asynccontextmanager
async def reading(etcd: Etcd, known: Known, failures: list[str]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()

    def take(listing: Listing | None) -> None:
        if listing is not None:
            known.take(listing, loop.time())

    reader = asyncio.create_task(
        Reader(watch_of(etcd), take, failures.append, Random(7)).run(), name="reader"
    )
    try:
        yield
    finally:
        reader.cancel()
        await asyncio.wait([reader])


async def test_a_directory_survives_etcds_death_with_and_without_its_data(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, "INTERVAL", 0.02)
    known, failures = Known(60.0), list[str]()
    now = asyncio.get_running_loop().time

    def has(*wanted: str) -> Callable[[], bool]:
        return lambda: {each.id for each in known.directory(now()).instances} == set(wanted)

    async with reading(etcd, known, failures):
        await put(etcd, "a")
        await put(etcd, "b")
        await eventually(has("a", "b"), "both are known")
        for wiped in (False, True):
            failures.clear()
            await etcd.kill()
            await eventually(lambda: bool(failures), "etcd is gone")
            assert has("a", "b")(), "the last listing stays"
            if wiped:
                etcd.wipe()
            await etcd.start()
            for name in ("a", "b") if wiped else ():
                await put(etcd, name)  # the nodes register again
            await put(etcd, "c")
            await eventually(has("a", "b", "c"), "it goes on")
            await delete(etcd, "c")
            await eventually(has("a", "b"), "c is gone")


async def test_a_store_that_lost_its_data_between_two_calls_is_listed_again(etcd: Etcd) -> None:
    watch = watch_of(etcd)
    for name in "abc":
        await put(etcd, name)
    await listing_of(watch)
    await etcd.kill()
    etcd.wipe()
    await etcd.start()
    await put(etcd, "d")
    listing = await listing_of(watch)
    assert (listing.complete, ids(listing)) == (True, ["d"])


async def test_the_key_is_the_id_whatever_the_value_says(etcd: Etcd) -> None:
    """A node that may write its own key cannot take another's place."""
    await put(etcd, "mine", service_id="yours")
    assert ids(await listing_of(watch_of(etcd))) == ["mine"]


async def test_keys_and_values_that_are_none_are_refused(etcd: Etcd) -> None:
    for name, value in (
        ("text", "no JSON"),
        ("list", "[]"),
        ("deep", "[" * 100_000),
        ("far", json.dumps({"service_name": "orders", "address": "169.254.1.1", "port": 80})),
    ):
        await etcd.ask("/v3/kv/put", {"key": _base64(PREFIX + name), "value": _base64(value)})
    for name in ("", "a/b", "ü", "x" * 129):
        await put(etcd, name)
    await put(etcd, "labelled", labels={"zone": "x" * 65536})
    await put(etcd, "good")
    listing = await listing_of(watch_of(etcd))
    assert (ids(listing), listing.refused) == (["good"], 9)


async def test_an_instance_that_moves_to_a_refused_address_is_gone(etcd: Etcd) -> None:
    watch, known = watch_of(etcd), Known(0.0)
    await put(etcd, "a")
    known.take(await listing_of(watch), 0.0)
    await put(etcd, "a", address="192.168.0.1")
    known.take(await listing_of(watch), 1.0)
    assert known.directory(1.0).instances == ()


async def test_an_etcd_with_authentication_wants_its_token(etcd: Etcd, tmp_path: Path) -> None:
    root = {"name": "root", "password": "made-up"}
    await put(etcd, "a")
    await etcd.ask("/v3/auth/user/add", root)
    await etcd.ask("/v3/auth/user/grant", {"user": "root", "role": "root"})
    await etcd.ask("/v3/auth/enable", {})
    with pytest.raises(PollError, match="HTTP status"):
        await watch_of(etcd).poll()
    file = tmp_path / "token"
    file.write_text((await etcd.ask("/v3/auth/authenticate", root))["token"])
    client = RegistryClient(TlsFiles(), FileTokens(file), "Authorization", "")
    watch = EtcdWatch(etcd.url, ADMISSION, client)
    assert ids(await listing_of(watch)) == ["a"]
    await etcd.ask("/v3/auth/disable", {})


HEADER = {"cluster_id": "1", "member_id": "2", "revision": "7", "raft_term": "2"}


@contextlib.asynccontextmanager
async def scripted(lines: bytes, *, ends: bool = True) -> AsyncIterator[EtcdWatch]:
    """Yield a watch that has listed an empty store and gets these bytes from then on."""
    stopped = asyncio.Event()

    async def listed(_: web.Request) -> web.StreamResponse:
        return web.json_response({"header": HEADER})

    async def watched(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(lines)
        if not ends:
            await stopped.wait()
        return response

    application = web.Application()
    application.add_routes([web.post("/v3/kv/range", listed), web.post("/v3/watch", watched)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    watch = EtcdWatch(
        f"http://127.0.0.1:{runner.addresses[0][1]}", ADMISSION, RegistryClient(TlsFiles())
    )
    try:
        assert ids(await listing_of(watch)) == []
        yield watch
    finally:
        stopped.set()
        await runner.cleanup()


def line(**result: Any) -> bytes:
    return json.dumps({"result": {"header": HEADER, **result}}).encode() + b"\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        line(created=True),
        b"[]\n",
        b"no JSON\n",
        b"{}\n",
        b'{"error": {"message": "made-up"}}\n',
        line(canceled=True, cancel_reason="permission denied"),
    ],
)
async def test_a_watch_that_ends_without_events_is_an_error(lines: bytes) -> None:
    async with scripted(lines) as watch:
        with pytest.raises(PollError):
            await watch.poll()
        assert (await listing_of(watch)).complete, "the next call lists everything"


async def test_a_watch_that_a_proxy_holds_back_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the directory would be stale, and look current."""
    monkeypatch.setattr(etcd_watch, "WATCH_SECONDS", 0.05)
    async with scripted(b"", ends=False) as watch:
        with pytest.raises(PollError, match="proxy"):
            await watch.poll()
    async with scripted(line(created=True), ends=False) as watch:
        assert await watch.poll() is None


async def test_a_message_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_watch, "MAX_LINE_BYTES", 1000)
    async with scripted(b"x" * 200_000) as watch:
        with pytest.raises(PollError, match="longer than 1000"):
            await watch.poll()


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"kv": None},
        {"kv": {"key": 7}},
        {"kv": {"key": "%%"}, "type": "DELETE"},
        {"kv": {"key": _base64(PREFIX + "a"), "value": "%%", "mod_revision": 9}},
        {"kv": {"key": _base64(PREFIX + "a")}, "type": "DELETE", "prev_kv": {"value": "e30"}},
        {"type": "DELETE", "kv": {"key": _base64("/elsewhere/a")}, "prev_kv": []},
    ],
)
async def test_an_event_of_another_form_makes_no_instance(event: dict[str, Any]) -> None:
    async with scripted(line(events=[event])) as watch:
        assert ids(await listing_of(watch)) == []


async def test_parts_of_an_answer_are_taken_together() -> None:
    def event(name: str, revision: str) -> dict[str, Any]:
        value = {"service_name": "orders", "address": "10.0.0.1", "port": 80}
        key = _base64(PREFIX + name)
        return {"kv": {"key": key, "value": _base64(json.dumps(value)), "mod_revision": revision}}

    first, second = line(events=[event("a", "8")], fragment=True), line(events=[event("b", "8")])
    async with scripted(first + second) as watch:
        assert ids(await listing_of(watch)) == ["a", "b"]

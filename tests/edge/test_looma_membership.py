"""Reading a registry's members over real HTTP: what is new, and every way to have no answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sidecar.core.placement.directory import Allocation
from sidecar.looma.directory import listing as listings
from sidecar.looma.directory import membership
from sidecar.looma.directory.allocations import AllocationsOnly
from sidecar.looma.directory.client import RegistryClient
from sidecar.looma.directory.known import Known, Listing
from sidecar.looma.directory.listing import PollError
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.directory.membership import INTERVAL, Membership
from sidecar.net.trust import TlsFiles

ADMISSION = Admission(networks(["10.0.0.0/8"]))
EMPTY: dict[str, Any] = {"services": [], "cursor": "c1"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def entry(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "service_id": f"orders-{number}",
        "service_name": "orders",
        "address": f"10.0.0.{number}",
        "port": 80,
        **fields,
    }


class Registry:
    """Answers with what a test sets, and remembers what it was asked."""

    def __init__(self) -> None:
        self.services: Any = EMPTY
        self.allocations: Any = {"allocations": []}
        self.instead: Handler | None = None
        self.asked: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.instead is not None:
            return await self.instead(request)
        content = self.services if request.path.endswith("services") else self.allocations
        body = json.dumps(content)
        etag = f'"{hash(body)}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.Response(text=body, headers={"ETag": etag})


class Tokens:
    """A token that is replaced when the registry refuses it."""

    def __init__(self) -> None:
        self.current = "t0"

    async def token(self) -> str:
        return self.current

    async def other_than(self, rejected: str) -> str | None:
        assert rejected == self.current
        self.current = "t1"
        return self.current


@asynccontextmanager
async def served(tokens: Tokens | None = None) -> AsyncIterator[tuple[Registry, Membership]]:
    registry = Registry()
    application = web.Application()
    application.router.add_get("/{path:.*}", registry.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield registry, Membership(url, ADMISSION, RegistryClient(TlsFiles(), tokens))
    finally:
        await runner.cleanup()


async def test_a_listing_is_read_once_and_then_only_what_changes() -> None:
    async with served() as (registry, members):
        registry.services = {"services": [entry(1), entry(2)], "cursor": "c1"}
        registry.allocations = {"allocations": [{"user_id": 7, "service_name": "orders"}]}
        listing = await members.poll()
        assert listing is not None
        assert [each.id for each in listing.instances] == ["orders-1", "orders-2"]
        assert listing.allocations == {"7": (Allocation("orders"),)}
        assert await members.poll() is None
        change = {"services": [entry(3)], "removed": ["orders-1"], "complete": False}
        registry.services = {**change, "cursor": "c2"}
        listing = await members.poll()
        assert listing is not None
        assert (listing.complete, listing.removed) == (False, frozenset({"orders-1"}))
        assert listing.allocations is None
        assert registry.asked[0].query_string == "view=membership"
        assert registry.asked[-2].query_string == "view=membership&after=c1"


async def test_changed_allocations_remove_no_instance() -> None:
    async with served() as (registry, members):
        registry.services = {"services": [entry(1)]}
        known = Known(60.0)
        known.take(await members.poll() or Listing(()), 0.0)
        registry.allocations = {"allocations": [{"user_id": "a", "service_name": "orders"}]}
        known.take(await members.poll() or Listing(()), 1.0)
        directory = known.directory(1.0)
        assert [each.id for each in directory.instances] == ["orders-1"]
        assert directory.allocations == {"a": (Allocation("orders"),)}


async def test_a_forgotten_cursor_leads_to_a_whole_listing() -> None:
    async with served() as (registry, members):
        await members.poll()

        async def gone(request: web.Request) -> web.StreamResponse:
            return web.Response(status=410 if "after" in request.query else 200, text="{}")

        registry.instead = gone
        with pytest.raises(PollError, match="cursor"):
            await members.poll()
        registry.instead = None
        registry.services = {"services": [entry(1)]}
        listing = await members.poll()
        assert listing is not None
        assert listing.complete


async def test_refused_entries_and_doubled_ids_are_left_out() -> None:
    async with served() as (registry, members):
        registry.services = {
            "services": [
                entry(1),
                entry(1, address="10.9.9.9"),
                entry(2, address="169.254.169.254"),
                entry(3, port=0),
                "nonsense",
            ]
        }
        listing = await members.poll()
        assert listing is not None
        assert [each.address for each in listing.instances] == ["10.0.0.1:80"]


WRONG: list[Any] = [
    [],
    {},
    {"services": None},
    {"services": {"a": 1}},
    "text",
    None,
    {"services": [entry(1)] * 3},
]


@pytest.mark.parametrize("content", WRONG[:-1])
async def test_a_listing_of_another_form_is_an_error(content: Any) -> None:
    async with served() as (registry, members):
        registry.services = content
        with pytest.raises(PollError):
            await members.poll()


async def test_more_instances_than_the_bound_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "MAX_INSTANCES", 2)
    async with served() as (registry, members):
        registry.services = WRONG[-1]
        with pytest.raises(PollError, match="more than 2"):
            await members.poll()


def _body(status: int, text: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers={"Location": "http://a.example/"})

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_body(500, ""), "status 500"),
        (_body(302, ""), "status 302"),
        (_body(401, ""), "status 401"),
        (_body(200, "<html>"), "not JSON"),
        (_body(200, "[" * 100_000), "not JSON"),
    ],
)
async def test_an_answer_that_is_no_listing_is_an_error(answer: Handler, words: str) -> None:
    async with served() as (registry, members):
        registry.instead = answer
        with pytest.raises(PollError, match=words):
            await members.poll()


async def test_a_huge_answer_is_an_error_and_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MAX_BODY_BYTES", 1000)
    async with served() as (registry, members):
        registry.instead = _body(200, "x" * 100_000)
        with pytest.raises(PollError, match="longer than 1000"):
            await members.poll()


async def test_a_silent_registry_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "ANSWER_SECONDS", 0.05)
    async with served() as (registry, members):
        release = asyncio.Event()

        async def silent(_: web.Request) -> web.StreamResponse:
            await release.wait()
            return web.Response()

        registry.instead = silent
        with pytest.raises(PollError, match="no answer"):
            await members.poll()
        release.set()


async def test_a_closed_registry_is_an_error() -> None:
    async with served() as (_, members):
        pass
    with pytest.raises(PollError):
        await members.poll()


async def test_the_service_token_is_sent_and_a_refused_one_is_replaced() -> None:
    async with served(Tokens()) as (registry, members):
        registry.instead = _body(401, "")
        with pytest.raises(PollError, match="status 401"):
            await members.poll()
        registry.instead = None
        await members.poll()
        sent = [each.headers["Authorization"] for each in registry.asked]
        assert sent == ["Bearer t0", "Bearer t1", "Bearer t1"]


async def test_no_instance_fulfils_requirements_beyond_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listings, "MAX_REQUIREMENTS", 2)
    async with served() as (registry, members):
        registry.allocations = {
            "allocations": [
                {"user_id": n, "service_name": "orders", "requirements": {"a": str(n)}}
                for n in range(4)
            ]
        }
        listing = await members.poll()
        assert listing is not None
        assert listing.refused == 2
        assert listing.allocations == {
            **{str(n): (Allocation("orders", "", (("a", str(n)),)),) for n in range(2)},
            **{str(n): (Allocation("orders", fulfillable=False),) for n in (2, 3)},
        }


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        (2, 2.0),
        (0.001, 1.0),
        (3600, 60.0),
        (10**400, 60.0),
        (None, INTERVAL),
        (0, INTERVAL),
        (-1, INTERVAL),
        (True, INTERVAL),
        ("1", INTERVAL),
        ([1], INTERVAL),
    ],
)
async def test_the_registrys_interval_holds_within_bounds(wanted: Any, seconds: float) -> None:
    async with served() as (registry, members):
        registry.services = {**EMPTY, "poll_seconds": wanted}
        await members.poll()
        assert members.interval == seconds


async def test_an_interval_holds_until_another_listing() -> None:
    async with served() as (registry, members):
        registry.services = {**EMPTY, "poll_seconds": 2}
        await members.poll()
        assert await members.poll() is None
        assert members.interval == 2.0
        registry.instead = _body(500, "")
        with pytest.raises(PollError):
            await members.poll()
        assert members.interval == 2.0
        registry.instead, registry.services = None, {"services": []}
        await members.poll()
        assert members.interval == INTERVAL


async def test_an_entity_tag_that_cannot_be_sent_back_stops_no_poll() -> None:
    async with served() as (registry, members):

        async def tagged(request: web.Request) -> web.StreamResponse:
            content = registry.services if "services" in request.path else registry.allocations
            return web.json_response(content, headers={"ETag": '"é"'})

        registry.instead = tagged
        for _ in range(2):
            assert await members.poll() is not None
        assert "If-None-Match" not in registry.asked[-1].headers


async def test_the_allocations_of_one_user_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "MAX_OF_USER", 2)
    async with served() as (registry, members):
        several = [{"user_id": 7, "service_name": name} for name in "abc"]
        registry.allocations = {"allocations": [*several, {"user_id": 8, "service_name": "c"}]}
        listing = await members.poll()
        assert listing is not None
        assert listing.allocations == {
            "7": (Allocation("a"), Allocation("b")),
            "8": (Allocation("c"),),
        }


async def test_allocations_can_be_read_without_instances() -> None:
    async with served() as (registry, members):
        url = members._services.partition("/cluster")[0]
        source = AllocationsOnly(url, RegistryClient(TlsFiles()))
        registry.allocations = {"allocations": [{"user_id": 7, "service_name": "orders"}, "x"]}
        wanted = {"7": (Allocation("orders"),)}
        assert await source.poll() == Listing((), complete=False, allocations=wanted, refused=1)
        assert await source.poll() is None
        registry.allocations = {"allocations": []}
        assert await source.poll() == Listing((), complete=False, allocations={})
        nonsense: list[Any] = [[], {}, {"allocations": 7}]
        for registry.allocations in nonsense:
            with pytest.raises(PollError):
                await source.poll()
        registry.instead = _body(410, "")
        with pytest.raises(PollError, match="status 410"):
            await source.poll()
        assert {each.path for each in registry.asked} == {"/cluster/allocations"}
        await source.close()

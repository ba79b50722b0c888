"""Users: Zervi's answers in every shape, their part of the cluster, and logging them out."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from demo.looma import Looma
from demo.zervi import Zervi
from sidecar.console.fleet.nodes import node
from sidecar.console.people.health import instance_state, overall_health
from sidecar.console.people.zervi import NoUserError
from sidecar.console.people.zervi import Zervi as Asking
from sidecar.console.remote import Remote, RemoteError
from tests.console.rig import BOB, Console, entry, running, whole
from tests.console.test_registry import answering, serving

USER = {"id": 7, "username": "wei", "email": "w@x", "role": "user", "status": "active"}


def asking(url: str) -> Asking:
    return Asking(Remote("Zervi"), url, {})


@pytest.mark.parametrize(
    "body",
    [
        USER,
        {"code": 0, "message": "ok", "data": USER},
        {"success": True, "data": USER},
        {"code": 0, "data": {"user": USER}},
        {**USER, "id": "7", "role": None, "roles": ["user"]},
    ],
)
async def test_a_user_in_each_shape_of_answer(body: Any) -> None:
    async with serving(answering(body)) as url:
        user = await asking(url).user("7")
        assert (user.id, user.username, user.roles) == ("7", "wei", ("user",))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**USER, "id": 8}, 200),  # another user
        ({}, 200),
        ([], 200),
        (b"<html>", 200),
        ({"success": False, "data": USER}, 200),  # Zervi answers 200 for failures too
        ({"code": 1, "message": "no", "data": USER}, 200),
        (USER, 500),
    ],
)
async def test_an_answer_for_another_user_or_none_is_an_error(body: Any, status: int) -> None:
    async with serving(answering(body, status)) as url:
        with pytest.raises(RemoteError):
            await asking(url).user("7")


async def test_a_hostile_user_is_bounded_text() -> None:
    hostile = {"id": 7, "username": "\u202e" * 9000, "role": ["x"] * 9000, "email": 5, "status": []}
    async with serving(answering(hostile)) as url:
        user = await asking(url).user("7")
        assert user.username.isprintable()
        assert len(user.username) < 200
        assert len(user.roles) <= 64
        assert (user.email, user.status) == ("", "unknown")


@pytest.mark.parametrize("id_", ["", ".", "..", "x" * 129, "a\x00", "a\nb"])
async def test_an_id_that_is_no_segment_is_nobody(id_: str) -> None:
    with pytest.raises(NoUserError):
        await asking("http://127.0.0.1:9").user(id_)


async def test_an_id_is_one_segment_of_the_path() -> None:
    paths = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.raw_path)
        return web.json_response({}, status=404)

    async with serving(handler) as url:
        with pytest.raises(NoUserError):
            await asking(url).user("../admin?x=/#y%")
    assert paths == ["/api/users/..%2Fadmin%3Fx%3D%2F%23y%25"]


@pytest.mark.parametrize(
    ("body", "permissions"),
    [
        (["b", "a", "a"], ["a", "b"]),
        ({"permissions": ["a"]}, ["a"]),
        ({"code": 0, "data": {"permissions": ["a"]}}, ["a"]),
        ({"code": 0, "data": {"permissions": None}}, []),
        ({"permissions": ["a", 5, {}, ""]}, ["a"]),
    ],
)
async def test_permissions_in_each_shape_of_answer(body: Any, permissions: list[str]) -> None:
    async with serving(answering(body)) as url:
        assert await asking(url).permissions("7") == permissions


async def test_permissions_that_are_an_object_are_an_error() -> None:
    async with serving(answering({"permissions": {"a": True}})) as url:
        with pytest.raises(RemoteError):
            await asking(url).permissions("7")


HEALTHY, WARNING, CRITICAL, UNKNOWN = "healthy", "warning", "critical", "unknown"


@pytest.mark.parametrize(
    ("instances", "status", "failed", "health"),
    [
        ([HEALTHY], "active", 0, HEALTHY),
        ([], "active", 0, HEALTHY),  # nothing is assigned, nothing is ill
        ([HEALTHY, CRITICAL], "active", 0, WARNING),
        ([WARNING], "active", 0, WARNING),
        ([CRITICAL, CRITICAL], "active", 0, CRITICAL),
        ([HEALTHY], "disabled", 0, CRITICAL),
        (None, "disabled", 0, CRITICAL),
        ([CRITICAL], None, None, CRITICAL),
        (None, "active", 0, UNKNOWN),
        ([HEALTHY], None, None, UNKNOWN),
        ([HEALTHY], "active", 4, HEALTHY),
        ([HEALTHY], "active", 5, WARNING),
        ([HEALTHY], "unknown", None, HEALTHY),  # a Zervi without states
    ],
)
def test_overall_health(
    instances: list[str] | None, status: str | None, failed: int | None, health: str
) -> None:
    assert overall_health(instances, status, failed) == health


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, HEALTHY),
        ({"health_status": "critical"}, CRITICAL),
        ({"health_status": "warning"}, WARNING),
        ({"health_status": "unknown"}, WARNING),
        ({"report": {"ready": False}}, CRITICAL),
        ({"report": {"ready": None}}, WARNING),
        ({"last_heartbeat": "2026-11-28T11:00:00Z"}, CRITICAL),
    ],
)
def test_the_state_of_an_instance(change: dict[str, Any], state: str) -> None:
    assert instance_state(node(entry(1, **change)), 1795867230.0, 100.0) == state
    assert instance_state(None, 0.0, 100.0) == CRITICAL


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[tuple[Console, Looma, Zervi]]:
    async with whole(tmp_path) as (console, looma, zervi):
        yield console, looma, zervi


async def test_metrics_join_what_looma_and_zervi_know(
    three: tuple[Console, Looma, Zervi],
) -> None:
    console, looma, zervi = three
    for path, body in (
        ("/cluster/register", {"service_id": "one", "service_name": "orders"}),
        ("/cluster/heartbeat/one", {"ready": True, "health_status": "healthy"}),
        (
            "/cluster/allocations",
            {"user_id": 2, "service_name": "orders", "service_id": "one"},
        ),
        ("/cluster/allocations", {"user_id": 2, "service_name": "mail", "service_id": "gone"}),
    ):
        async with console.client.post(looma.url + path, json=body) as answer:
            assert answer.status < 300
    status, metrics = await console.get("/api/users/2/metrics")
    assert status == 200
    assert set(metrics) == {"cluster_metrics", "auth_metrics", "overall_health"}
    states = {each["id"]: each["state"] for each in metrics["cluster_metrics"]["instances"]}
    assert states == {"one": "healthy", "gone": "critical"}
    assert metrics["overall_health"] == "warning"
    assert metrics["auth_metrics"]["status"] == "active"
    zervi.console.disabled.add("2")
    assert (await console.get("/api/users/2/metrics"))[1]["overall_health"] == "critical"


async def test_metrics_without_zervi_are_what_looma_knows(
    three: tuple[Console, Looma, Zervi],
) -> None:
    console, _, zervi = three
    zervi.down = True
    status, metrics = await console.get("/api/users/2/metrics")
    assert (status, metrics["auth_metrics"], metrics["overall_health"]) == (200, None, "unknown")


async def test_nobody_is_404(three: tuple[Console, Looma, Zervi]) -> None:
    for path in ("/api/users/99", "/api/users/99/metrics", "/api/users/99/may?path=/x"):
        status, body = await three[0].get(path)
        assert status == 404, path
        assert body["code"] in {"NO_USER", "NO_TABLE"}


async def test_users_are_found_by_name_and_by_id(three: tuple[Console, Looma, Zervi]) -> None:
    console = three[0]
    found = (await console.get("/api/users?q=ali"))[1]["users"]
    assert [user["username"] for user in found] == ["alice"]
    assert "alice" in (await console.get("/view/users?q=2"))[1]
    assert (await console.get("/api/users"))[0] == 400
    assert (await console.get("/api/users?q=" + "x" * 101))[0] == 400


async def test_logging_out_everywhere_is_a_revocation_with_an_audit_line(
    three: tuple[Console, Looma, Zervi],
) -> None:
    console, _, zervi = three
    status, body, _ = await console.send(
        "POST", "/api/users/2/logout", {}, **{"x-request-id": "abc"}
    )
    assert (status, body) == (200, {"logged_out": True})
    assert zervi.console.revoked_before["2"]
    line = console.audit[-1]
    assert line["audit"] == "user.logout"
    assert (line["on"], line["result"], line["request_id"]) == ("2", "done", "abc")
    assert line["by"] == {"subject": "3", "username": "bob", "roles": ["admin"], "issuer": ""}


@pytest.mark.parametrize("origin", ["", "https://evil.example"])
async def test_a_foreign_page_logs_nobody_out(
    three: tuple[Console, Looma, Zervi], origin: str
) -> None:
    console, _, zervi = three
    status, body, _ = await console.send("POST", "/api/users/2/logout", {}, Origin=origin)
    assert (status, body["code"]) == (403, "WRONG_ORIGIN")
    assert zervi.console.revoked_before == {}


async def test_a_change_that_fails_is_in_the_audit_too(
    three: tuple[Console, Looma, Zervi],
) -> None:
    console, _, zervi = three
    assert (await console.send("POST", "/api/users/99/logout", {}))[0] == 404
    assert console.audit[-1]["result"] == "not found"
    zervi.down = True
    assert (await console.send("POST", "/api/users/2/logout", {}))[0] == 502
    assert console.audit[-1]["result"] == "failed: Zervi refused: HTTP status 503"


async def test_who_did_it_is_bounded_text(tmp_path: Path) -> None:
    """Identity headers come from a token; they cannot break the audit line or fill the disk."""
    async with whole(tmp_path) as (console, _, _):
        headers = {"x-username": "%0A%1B" + "x" * 4000, "x-user-role": ",".join(["r"] * 3000)}
        await console.send("POST", "/api/users/2/logout", {}, **{**BOB, **headers})
        line = console.audit[-1]
        assert line["by"]["username"].isprintable()
        assert len(str(line)) < 2000


async def test_a_slow_zervi_holds_up_no_other_page(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        await stop.wait()
        return web.json_response({})

    async with (
        serving(slow) as zervi,
        serving(answering({"services": [entry(1)]})) as looma,
        running(tmp_path, looma, zervi) as console,
    ):
        async with asyncio.timeout(8):
            status, nodes = await console.get("/api/nodes")
            assert (status, nodes["matched"]) == (200, 1)
            status, overview = await console.get("/api/overview")
            assert overview["cluster_overview"]["nodes"] == 1
        stop.set()

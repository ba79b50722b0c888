"""`/api/environments` against the stand-ins: what is created, what is refused, what is shown."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from demo.looma import Looma
from demo.zervi import Zervi
from sidecar.console.environments import saga as module
from tests.console.rig import ORIGIN, Console, entry, whole
from tests.edge.looma_contract import Contract

ALICE = {"username": "alice2", "email": "alice2@example.com", "requirements": {"zone": "a"}}
GRANTED = ["basic-server:access", "data:read", "data:write"]
Rig = tuple[Console, Looma, Zervi]


@pytest.fixture(name="rig")
async def new_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with whole(tmp_path, environments={"database": "environments.db"}) as rig:
        await register(rig[1], "basic-a", "a")
        await register(rig[1], "basic-b", "b")
        yield rig


async def register(looma: Looma, service_id: str, zone: str, health: str = "healthy") -> None:
    """Register an instance of `basic-server` as its sidecar would."""
    node = entry(service_id=service_id, service_name="basic-server", labels={"zone": zone})
    body = {**node, "health_status": health}
    url = f"{looma.url}/cluster/register"
    async with aiohttp.ClientSession() as client, client.post(url, json=body) as response:
        assert response.status == 201


async def ended(console: Console, identifier: str) -> dict[str, Any]:
    """Return an environment once it has no step to take."""
    kept = console.parts.environments
    assert kept is not None
    await kept.saga.settled(identifier)
    status, body = await console.get(f"/api/environments/{identifier}")
    assert status == 200
    return dict(body)


async def create(console: Console, body: Any = ALICE) -> dict[str, Any]:
    status, created, _ = await console.send("POST", "/api/environments", body)
    assert status == 202, created
    return await ended(console, created["id"])


async def test_an_environment_is_a_user_an_instance_and_permissions(rig: Rig) -> None:
    """And an audit line; deleting it leaves none of them, and revokes the tokens first."""
    console, looma, zervi = rig
    ready = await create(console)
    assert (ready["state"], ready["service_id"]) == ("ready", "basic-a")
    assert [each["state"] for each in ready["steps"]] == ["done"] * 3
    assert zervi.environments.permissions_of(ready["user_id"]) == GRANTED
    assert looma.allocations[ready["user_id"], "basic-server"]["service_id"] == "basic-a"
    assert console.audit[-1]["audit"] == "environment.create"
    assert (console.audit[-1]["on"], console.audit[-1]["result"]) == (ready["id"], "done")
    assert console.audit[-1]["by"]["username"] == "bob"
    status, _, _ = await console.send("DELETE", f"/api/environments/{ready['id']}")
    assert status == 202
    deleted = await ended(console, ready["id"])
    assert deleted["state"] == "deleted"
    assert [each["step"] for each in deleted["steps"]] == [
        "revocation",
        "permissions",
        "server",
        "user",
    ]
    assert (zervi.environments.users, zervi.environments.grants, looma.allocations) == ({}, {}, {})
    assert ready["user_id"] in zervi.console.revoked_before


async def test_the_same_again_is_the_same_and_another_is_a_conflict(rig: Rig) -> None:
    console, _, _ = rig
    first = await create(console)
    status, again, headers = await console.send("POST", "/api/environments", ALICE)
    assert (status, again["id"]) == (200, first["id"])
    assert headers["Location"] == f"/api/environments/{first['id']}"
    other = {**ALICE, "requirements": {"zone": "b"}}
    status, body, _ = await console.send("POST", "/api/environments", other)
    assert (status, body["code"]) == (409, "EXISTS")


async def test_what_zervi_or_looma_refuses_is_undone_and_says_why(rig: Rig) -> None:
    console, looma, zervi = rig
    body = {**ALICE, "requirements": {"zone": "nowhere"}}
    failed = await create(console, body)
    assert (failed["state"], failed["error"]) == ("failed", "server: HTTP status 409")
    assert (zervi.environments.users, looma.allocations) == ({}, {})


@pytest.mark.parametrize("operation", ["createUser", "allocate", "grant"])
@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_failure_on_either_side_of_a_call_is_repeated(
    rig: Rig, operation: str, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    console, looma, zervi = rig
    failures = (
        looma.environments.failures if operation == "allocate" else zervi.environments.failures
    )
    failures.fail(operation, [mode] * 3)
    ready = await create(console)
    assert ready["state"] == "ready"
    assert len(zervi.environments.users) == len(zervi.environments.grants) == 1
    assert len(looma.environments.allocated) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": ""},
        {"username": "a" * 65},
        {"username": "../admin"},
        {"username": "<b>"},
        {"username": 7},
        {"username": "a", "email": "no"},
        {"username": "a", "email": "a@b\r\nBcc: c@d"},
        {"username": "a", "requirements": []},
        {"username": "a", "requirements": {"zone": 1}},
        {"username": "a", "requirements": {"zo ne": "x"}},
        {"username": "a", "requirements": {"zone": "x" * 257}},
        {"username": "a", "requirements": {"zone": "\x00"}},
        {"username": "a", "requirements": {f"l{n}": "x" for n in range(33)}},
        {"username": "a", "role": "admin"},
    ],
    ids=lambda body: json.dumps(body)[:50],
)
async def test_an_odd_body_is_refused(rig: Rig, body: Any) -> None:
    console, _, zervi = rig
    status, answer, _ = await console.send("POST", "/api/environments", body)
    assert (status, answer["code"]) == (400, "BAD_REQUEST")
    assert not zervi.environments.users


async def test_a_change_needs_the_console_s_own_origin(rig: Rig) -> None:
    console, _, _ = rig
    for origin in ("", "https://evil.example", ORIGIN + ".evil.example"):
        status, body, _ = await console.send("POST", "/api/environments", ALICE, Origin=origin)
        assert (status, body["code"]) == (403, "WRONG_ORIGIN")


async def test_an_unknown_environment_is_404_and_the_list_is_paged(rig: Rig) -> None:
    console, _, _ = rig
    assert (await console.get("/api/environments/env-0"))[0] == 404
    assert (await console.send("DELETE", "/api/environments/env-0"))[0] == 404
    assert (await console.get("/api/environments?before=x"))[0] == 400
    ready = await create(console)
    status, listed = await console.get("/api/environments")
    assert status == 200
    assert [each["id"] for each in listed["environments"]] == [ready["id"]]
    assert listed["before"] is None


async def test_the_stand_ins_and_the_console_keep_the_contracts(rig: Rig) -> None:
    """Every call of the steps, and every answer, against the two OpenAPI files."""
    console, _, _ = rig
    of_zervi, of_looma = Contract("zervi-environments"), Contract("looma-environments")
    kept = console.parts.environments
    assert kept is not None
    seen: set[str] = set()
    steps: Any = kept.saga._steps
    for remote, contract in ((steps._zervi, of_zervi), (steps._looma, of_looma)):

        async def checked(
            method: str, url: str, body: Any, real: Any = remote.call, of: Contract = contract
        ) -> Any:
            path = urlsplit(url).path
            of.check_request(method, path, body)
            reply = await real(method, url, body)
            of.check_answer(method, path, reply.status, reply.body)
            seen.add(of.operation(method, path)["operationId"])
            return reply

        remote.call = checked
    ready = await create(console)
    await console.send("DELETE", f"/api/environments/{ready['id']}")
    await ended(console, ready["id"])
    everything = {
        operation["operationId"]
        for contract in (of_zervi, of_looma)
        for path in contract.document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    }
    assert seen == everything - {"allocation"}


async def test_an_error_that_quotes_the_request_is_an_answer(rig: Rig) -> None:
    """Half a surrogate pair, which JSON can hold, cannot be sent in UTF-8."""
    status, body, headers = await rig[0].send("POST", "/api/environments", {"\ud800": 1})
    assert (status, body["error"]) == (400, "unknown: \\ud800")
    assert "Content-Security-Policy" in headers


async def test_without_the_section_there_are_no_environments(tmp_path: Path) -> None:
    async with whole(tmp_path) as (console, _, _):
        assert (await console.get("/api/environments"))[0] == 404
        assert 'href="/environments"' not in (await console.get("/"))[1]


async def test_an_instance_that_looma_replaces_is_shown(rig: Rig) -> None:
    console, looma, _ = rig
    console.parts.cluster.allocations.every = 0.0
    await register(looma, "basic-a2", "a")
    ready = await create(console)
    key = ready["user_id"], "basic-server"
    assert looma.allocations[key]["service_id"] == "basic-a"
    await register(looma, "basic-a", "a", health="critical")
    assert looma.allocations[key]["service_id"] == "basic-a2"
    assert (await ended(console, ready["id"]))["service_id"] == "basic-a2"
    status, listed = await console.get("/api/environments")
    assert (status, listed["environments"][0]["service_id"]) == (200, "basic-a2")

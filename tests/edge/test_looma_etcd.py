"""etcd as the registry, against a real etcd that is killed and started again."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.looma.answers import Answer
from sidecar.looma.etcd import EtcdRegistry
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.registry import Failed, Ok, RetryAfter, Unauthorized, Unregistered
from sidecar.looma.token import FileTokens, WithToken
from sidecar.upstream.state import UpstreamState
from tests.edge.etcd_server import Etcd, etcd_server
from tests.edge.looma_rig import REPORT, SERVICE, Node, ScriptedCalls, http_caller, running
from tests.support.waiting import eventually

KEY = f"/looma/services/{SERVICE.id}"
TTL = 60.0


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    async with etcd_server(tmp_path) as etcd:
        yield etcd


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with http_caller() as caller:
        yield caller


@pytest.fixture
def registry(etcd: Etcd, caller: HttpCaller) -> EtcdRegistry:
    return EtcdRegistry(etcd.url, SERVICE.id, TTL, caller)


async def lease_of(etcd: Etcd) -> str:
    found = await etcd.ask("/v3/kv/range", {"key": base64.b64encode(KEY.encode()).decode()})
    return str(found["kvs"][0]["lease"])


async def test_a_node_is_a_key_that_lives_as_long_as_its_lease(
    etcd: Etcd, registry: EtcdRegistry
) -> None:
    assert await registry.register(REPORT) == Ok(ttl=TTL)
    value = await etcd.value(KEY)
    assert value["service_id"] == SERVICE.id
    assert value["address"] == "10.1.2.3"
    assert value["status"] == "active"
    assert value["health_status"] == "healthy"
    assert value["policy_digest"] == "sha256:aa"
    assert value["metrics"]["checks_total"] == 7
    lease = await lease_of(etcd)
    held = await etcd.ask("/v3/lease/timetolive", {"ID": lease, "keys": True})
    assert [base64.b64decode(key).decode() for key in held["keys"]] == [KEY]
    assert held["grantedTTL"] == "60"


async def test_a_heartbeat_writes_only_what_is_new(etcd: Etcd, registry: EtcdRegistry) -> None:
    async def revision() -> int:
        found = await etcd.ask("/v3/kv/range", {"key": base64.b64encode(KEY.encode()).decode()})
        return int(found["kvs"][0]["mod_revision"])

    await registry.register(REPORT)
    first = await revision()
    assert await registry.heartbeat(REPORT._replace(time=REPORT.time + 30)) == Ok(ttl=TTL)
    assert await revision() == first
    critical = REPORT._replace(upstream=UpstreamState.CRITICAL)
    assert await registry.heartbeat(critical) == Ok(ttl=TTL)
    assert await revision() > first
    assert (await etcd.value(KEY))["health_status"] == "critical"


async def test_the_numbers_in_the_value_are_written_every_few_minutes(
    etcd: Etcd, registry: EtcdRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.looma.etcd.REWRITE_SECONDS", 0.0)
    await registry.register(REPORT)
    metrics = REPORT.state.metrics._replace(checks=1234)
    await registry.heartbeat(REPORT._replace(state=REPORT.state._replace(metrics=metrics)))
    assert (await etcd.value(KEY))["metrics"]["checks_total"] == 1234


async def test_a_lease_that_is_lost_is_granted_anew(etcd: Etcd, registry: EtcdRegistry) -> None:
    await registry.register(REPORT)
    lost = await lease_of(etcd)
    await etcd.ask("/v3/lease/revoke", {"ID": lost})
    assert await registry.heartbeat(REPORT) == Unregistered()
    assert await registry.register(REPORT) == Ok(ttl=TTL)
    assert await lease_of(etcd) != lost
    assert await registry.heartbeat(REPORT) == Ok(ttl=TTL)


async def test_leaving_takes_the_key_away_and_may_be_repeated(
    etcd: Etcd, registry: EtcdRegistry
) -> None:
    assert await registry.deregister() == Ok()
    await registry.register(REPORT)
    lease = await lease_of(etcd)
    assert await registry.deregister() == Ok()
    assert await etcd.value(KEY) is None
    assert await registry.deregister() == Ok()
    await registry.register(REPORT)
    assert await lease_of(etcd) != lease


async def test_leaving_with_a_lease_that_ended_is_done(etcd: Etcd, registry: EtcdRegistry) -> None:
    await registry.register(REPORT)
    await etcd.ask("/v3/lease/revoke", {"ID": await lease_of(etcd)})
    assert await registry.deregister() == Ok()


async def test_a_node_survives_etcds_death_with_and_without_its_data(
    etcd: Etcd, registry: EtcdRegistry
) -> None:
    node = Node()
    async with running(node.reporter(registry, heartbeat=0.1)) as reporter:
        await eventually(lambda: node.requests.count(("heartbeat", "ok")) >= 2, "heartbeats")
        for wiped in (False, True):
            await etcd.kill()
            await eventually(lambda: node.requests[-1][1] == "failed", "etcd is gone")
            if wiped:
                etcd.wipe()
            await etcd.start()
            await eventually(lambda: node.requests[-1] == ("heartbeat", "ok"), "it goes on")
            assert (await etcd.value(KEY))["service_id"] == SERVICE.id
            assert ("heartbeat", "unregistered") in node.requests or not wiped
        assert await reporter.leave()
    assert await etcd.value(KEY) is None


async def test_an_etcd_with_authentication_wants_its_token(
    etcd: Etcd, registry: EtcdRegistry, caller: HttpCaller, tmp_path: Path
) -> None:
    root = {"name": "root", "password": "made-up"}
    await etcd.ask("/v3/auth/user/add", root)
    await etcd.ask("/v3/auth/user/grant", {"user": "root", "role": "root"})
    await etcd.ask("/v3/auth/enable", {})
    assert isinstance(await registry.register(REPORT), Unauthorized)
    token = (await etcd.ask("/v3/auth/authenticate", root))["token"]
    (tmp_path / "token").write_text(token)
    call = WithToken(caller, FileTokens(tmp_path / "token"), "Authorization", "")
    assert isinstance(await EtcdRegistry(etcd.url, SERVICE.id, TTL, call).register(REPORT), Ok)
    (tmp_path / "token").write_text("wrong")
    assert isinstance(
        await EtcdRegistry(etcd.url, SERVICE.id, TTL, call).register(REPORT), Unauthorized
    )


def scripted(*answers: Any) -> EtcdRegistry:
    calls = ScriptedCalls(
        [a if isinstance(a, Answer | Failed) else Answer(200, a) for a in answers]
    )
    return EtcdRegistry("http://e.test", SERVICE.id, TTL, calls)


GRANTED = b'{"ID": "7", "TTL": "60"}'
DONE = b"{}"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b'{"ID": 7, "TTL": "60"}', Failed("etcd granted a lease without a usable ID")),
        (b'{"TTL": "60"}', Failed("etcd granted a lease without a usable ID")),
        (b'{"ID": "../7", "TTL": "60"}', Failed("etcd granted a lease without a usable ID")),
        (b"[]", Failed("etcd's answer is not a JSON object")),
        (b"\xff", Failed("etcd's answer is not a JSON object")),
        (Answer(200, None), Failed("etcd's answer is not a JSON object")),
        (Answer(503, b'{"code": 14}'), RetryAfter(5.0, "HTTP status 503, code 14")),
        (Failed("Connection refused"), Failed("Connection refused")),
    ],
)
async def test_a_grant_that_is_none_is_a_failure(answer: Any, outcome: object) -> None:
    assert await scripted(answer).register(REPORT) == outcome


@pytest.mark.parametrize(
    "ttl", [b"60", b'"-60"', b"null", b'"sixty"', b'"' + b"9" * 30 + b'"', b'"0"']
)
async def test_a_ttl_that_is_none_is_ignored(ttl: bytes) -> None:
    registry = scripted(b'{"ID": "7", "TTL": ' + ttl + b"}", DONE)
    assert await registry.register(REPORT) == Ok()


@pytest.mark.parametrize("kept", [b"{}", b'{"result": []}', b'{"result": {"TTL": "0"}}'])
async def test_a_lease_without_a_life_is_lost(kept: bytes) -> None:
    registry = scripted(GRANTED, DONE, kept)
    await registry.register(REPORT)
    assert await registry.heartbeat(REPORT) == Unregistered()


async def test_a_failed_write_is_repeated_with_the_same_lease() -> None:
    calls = ScriptedCalls([Answer(200, GRANTED), Failed("broken"), Answer(200, DONE)])
    registry = EtcdRegistry("http://e.test", SERVICE.id, TTL, calls)
    assert await registry.register(REPORT) == Failed("broken")
    assert await registry.register(REPORT) == Ok()
    assert [url.rpartition("/")[2] for _, url, _, _ in calls.seen] == ["grant", "put", "put"]


async def test_a_heartbeat_before_any_registration_asks_nothing() -> None:
    assert await scripted(DONE).heartbeat(REPORT) == Unregistered()

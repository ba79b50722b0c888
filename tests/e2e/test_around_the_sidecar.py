"""What a real Envoy does around the sidecar: headers it removes, its limits, its stats listener."""

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest

from demo import minting
from demo.stack import Setup, Stack
from sidecar.config.removed import REMOVED, REMOVED_WITH_HOSTS
from tests.e2e.conftest import ROUTES, StartStack
from tests.e2e.grpc_upstream import METHOD
from tests.support import http1, http2
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTED = "/api/services/list"


def bearer(stack: Stack, **claims: Any) -> tuple[str, str]:
    """Return alice's token, with further claims."""
    good = minting.user_claims("alice", "unified-auth")
    token = minting.sign({**good, "permissions": ["service:access"], **claims}, stack.secret)
    return ("authorization", f"Bearer {token}")


async def test_envoy_removes_what_servers_obey_even_where_the_sidecar_does_not(
    start_stack: StartStack,
) -> None:
    """And none of the sidecar's identity headers, though Envoy does it last."""

    def keep(config: dict[str, Any]) -> None:
        config["policy"]["remove_headers"] = []

    async with start_stack(Setup(routes=ROUTES, configure=keep)) as stack:
        spoofed = [(name, "spoofed") for name in REMOVED]
        for target in ("/api/auth/login", LISTED):
            answer = await http1.send(stack.ports.envoy, target, *spoofed, bearer(stack))
            assert answer.status == 200
            assert "spoofed" not in answer.body
        assert answer.arrived("x-user-id") == [str(minting.USERS["alice"].user_id)]


async def test_envoys_rules_admit_every_odd_spelling_that_the_sidecar_removes(
    start_stack: StartStack,
) -> None:
    """An answer that names a header beyond them would be a 500."""

    def remove(config: dict[str, Any]) -> None:
        config["policy"]["remove_headers"] = [*REMOVED, *REMOVED_WITH_HOSTS]

    async with start_stack(Setup(routes=ROUTES, configure=remove)) as stack:
        for separator in "-.~!|'":
            names = [name.replace("-", separator) for name in (*REMOVED, *REMOVED_WITH_HOSTS)]
            spoofed = [(name, "spoofed") for name in names]
            answer = await http2.send(stack.ports.envoy, LISTED, *spoofed, bearer(stack))
            assert answer.status == 200, answer.body
            assert "spoofed" not in answer.body


TOO_MANY = tuple((f"x-made-up-{number}", "1") for number in range(92))
TOO_LARGE = (("x-made-up", "x" * 52_000),)
LARGE_IDENTITY = [f"permission:{number}" for number in range(350)]


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("what", ["too many", "too large"])
async def test_identity_headers_that_exceed_envoys_limits_have_an_answer_of_their_own(
    stack: Stack, port: int, client: Any, what: str
) -> None:
    """Not as an unavailable authorization: a retry would change nothing."""
    if what == "too many":
        token, headers = bearer(stack), TOO_MANY
    else:
        token = bearer(stack, permissions=["service:access", *LARGE_IDENTITY])
        headers = TOO_LARGE
    seen = len(stack.basic_server.received)
    assert (await client.send(port, LISTED, token)).status == 200
    answer = await client.send(port, LISTED, token, *headers)
    assert answer.status == 431
    assert answer.headers["cache-control"] == "no-store"
    assert "retry-after" not in answer.headers
    body = answer.json
    decision_id = body.pop("decision_id")
    assert body == {
        "error": "bad request",
        "code": "BAD_REQUEST",
        "message": "the request has too many or too large headers, counting those that are added"
        " to it",
        "reason": None,
    }
    assert len(stack.basic_server.received) == seen + 1

    def logged() -> list[dict[str, Any]]:
        whole, _, _ = stack.envoy.process.stdout.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["request_id"] == decision_id]

    await eventually(logged, "a line of the request")
    (line,) = logged()
    assert (line["reason"], line["details"]) == ("ok", "ext_authz_invalid")


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
async def test_a_denial_stays_a_denial_however_many_headers_there_are(
    port: int, client: Any
) -> None:
    answer = await client.send(port, LISTED, *TOO_MANY)
    assert (answer.status, answer.json["reason"]) == (401, "token_missing")


async def test_a_grpc_client_gets_the_reason_for_too_many_headers(stack: Stack) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.ports.envoy}") as channel:
        call = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"hello", metadata=(bearer(stack), *TOO_MANY[:88]), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNKNOWN  # which clients do not retry
    assert "too many or too large headers" in (refused.value.details() or "")


async def _stats(stack: Stack, target: str, method: str = "GET", **more: Any) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(stack.envoy.stats_url) as session,
        session.request(method, target, **more) as answer,
    ):
        return answer.status, await answer.text()


async def test_scrapers_and_probes_get_what_they_need(stack: Stack) -> None:
    status, text = await _stats(stack, "/stats/prometheus")
    assert status == 200
    for alert in ("rbac_denied", "ext_authz_request_header_limits_reached"):
        assert f'envoy_http_{alert}{{envoy_http_conn_manager_prefix="ingress"}}' in text
    assert await _stats(stack, "/ready") == (200, "LIVE\n")


@pytest.mark.parametrize(
    ("target", "method"),
    [
        *(("/quitquitquit", "POST"), ("/logging?level=trace", "POST"), ("/config_dump", "GET")),
        *(("/", "GET"), ("/stats", "GET"), ("/stats?filter=(a*)*b", "GET"), ("/help", "GET")),
        *(("/stats/prometheus?filter=(a*)*b", "GET"), ("/stats/prometheus?usedonly", "GET")),
        *(("/ready?", "GET"), ("/ready/", "GET"), ("/ready", "POST"), ("/ready", "HEAD")),
        *(("/stats/prometheus", "POST"), ("//ready", "GET"), ("/ready/../config_dump", "GET")),
        *(("/ready%2f..%2fconfig_dump", "GET"), ("/READY", "GET"), ("/certs", "GET")),
    ],
)
async def test_nothing_else_of_envoys_admin_interface_is_reachable(
    stack: Stack, target: str, method: str
) -> None:
    stats = int(stack.envoy.stats_url.rpartition(":")[2])
    answer = await http1.send(stats, target, method=method)
    assert answer.status == 404
    assert answer.body == ""
    assert (await _stats(stack, "/ready"))[0] == 200


async def test_a_body_does_not_get_to_the_admin_interface(stack: Stack) -> None:
    for body in (b"hello", _chunks()):
        assert (await _stats(stack, "/ready", data=body))[0] == 413


async def _chunks() -> Any:
    yield b"hello"


async def test_scrapes_are_limited_and_probes_are_not(start_stack: StartStack) -> None:
    """Each scrape takes milliseconds of the thread that Envoy has for everything but requests."""
    async with start_stack() as stack:
        scrapes = (_stats(stack, "/stats/prometheus") for _ in range(100))
        statuses = [status for status, _ in await asyncio.gather(*scrapes)]
        assert {*statuses} == {200, 429}
        assert statuses.count(200) >= 10
        assert (await _stats(stack, "/ready"))[0] == 200
        assert (await http1.send(stack.ports.envoy, "/api/auth/login")).status == 200


async def test_the_admin_interface_itself_is_a_socket_of_its_users_own(stack: Stack) -> None:
    assert stack.envoy.admin_socket.stat().st_mode & 0o777 == 0o600
    assert json.loads(await stack.envoy.admin("/server_info"))["state"] == "LIVE"

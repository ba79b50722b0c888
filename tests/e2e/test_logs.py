"""What the access log and the decision log say of a request, and what they never do."""

import json
from typing import Any

import pytest

from demo import minting
from demo.process import Process
from demo.stack import Stack
from tests.support.http1 import send
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _lines(process: Process) -> list[dict[str, Any]]:
    whole, _, _ = process.stdout.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


async def _line(process: Process, key: str, value: str) -> dict[str, Any]:
    """Wait for the line of one request."""
    await eventually(
        lambda: any(line.get(key) == value for line in _lines(process)), f"a line with {value}"
    )
    return next(line for line in _lines(process) if line.get(key) == value)


async def test_envoys_access_log_says_why_a_request_was_denied(stack: Stack, port: int) -> None:
    token = ("Authorization", f"Bearer {stack.zervi.token('alice')}")
    answer = await send(port, "/api/cluster/nodes?secret=1", token)
    line = await _line(stack.envoy.process, "decision_id", answer.json["decision_id"])
    assert line["reason"] == "permission_denied"
    assert line["status"] == 403
    assert line["subject"] == str(minting.USERS["alice"].user_id)
    assert line["route"] == "api-cluster-all"
    assert line["path"] == "/api/cluster/nodes"
    assert line["request_id"] == answer.json["decision_id"]


async def test_envoys_access_log_says_why_a_request_was_allowed(stack: Stack, port: int) -> None:
    answer = await send(port, "/api/auth/login")
    line = await _line(stack.envoy.process, "request_id", answer.arrived("x-request-id")[0])
    assert line["reason"] == "public"
    assert line["status"] == 200
    assert line["subject"] is None
    assert int(line["authz_microseconds"]) > 0


async def test_the_decision_log_has_the_same_id(stack: Stack, port: int) -> None:
    answer = await send(port, "/api/services/list?secret=1")
    line = await _line(stack.sidecar, "decision_id", answer.json["decision_id"])
    assert line["decision"] == "deny"
    assert line["reason"] == "token_missing"
    assert line["path"] == "/api/services/list"


async def test_a_ticket_about_an_audience_is_answered_from_the_log_line(
    stack: Stack, port: int
) -> None:
    """The line has the issuer, the audience that it accepts, and the one that the token has."""
    claims = minting.user_claims("alice", "common-jwt")
    token = minting.sign({**claims, "aud": ["shop-web"]}, stack.secret)
    answer = await send(port, "/api/services/list", ("Authorization", f"Bearer {token}"))
    assert (answer.status, answer.json["reason"]) == (401, "token_audience")
    line = await _line(stack.sidecar, "decision_id", answer.json["decision_id"])
    assert line["issuer"] == "jobfirst"
    assert line["detail"] == "issuer jobfirst accepts jobfirst-users; aud has none that it accepts"
    assert line["claimed"] == {"iss": "jobfirst", "aud": ["shop-web"], "alg": "HS256"}
    assert token.rpartition(".")[2] not in stack.sidecar.output()


async def test_no_log_holds_a_token_or_a_query(stack: Stack, port: int) -> None:
    token = stack.zervi.token("bob", "unified-auth")
    target = "/api/cluster/nodes?token=made-up-query"
    answer = await send(port, target, ("Authorization", f"Bearer {token}"))
    request_id = answer.arrived("x-request-id")[0]
    await _line(stack.sidecar, "decision_id", request_id)
    await _line(stack.envoy.process, "request_id", request_id)
    written = stack.sidecar.output() + stack.envoy.process.output()
    for secret in (token, token.rpartition(".")[2], "made-up-query", stack.secret.decode()):
        assert secret not in written

"""The demo's requests through a real Envoy, each with its expected answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import jwt
from yarl import URL

from demo import minting
from demo.stack import Stack
from demo.zervi import Zervi

LOG_SECONDS = 5.0  # Envoy writes its access log a moment after the answer
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Row:
    """One request and its expected result.

    ``reached`` names headers that the Basic Server must have seen with exactly this value, or must
    not have seen at all (None). ``before`` runs first.
    """

    section: str
    request: str
    who: str
    status: int
    reason: str
    token: Callable[[Zervi], str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    reached: Mapping[str, str | None] = field(default_factory=dict)
    before: Callable[[Stack], Awaitable[object]] | None = None

    @property
    def allowed(self) -> bool:
        """Whether the request must be allowed."""
        return self.status < 400


@dataclass(frozen=True)
class Result:
    """The result of a row. ``shown`` is what the client or the Basic Server received, as text."""

    row: Row
    status: int
    reason: str
    shown: str
    wrong: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.wrong


def _user(name: str, style: str = "zervi") -> Callable[[Zervi], str]:
    return lambda zervi: zervi.token(name, style)


def _expired(zervi: Zervi) -> str:
    return minting.sign(minting.expired(minting.user_claims("alice")), zervi.keys[-1])


def _forged(zervi: Zervi) -> str:
    return minting.forge(minting.user_claims("root"), zervi.keys[-1])


def _unsigned(_zervi: Zervi) -> str:
    return jwt.encode(minting.user_claims("root"), key="", algorithm="none")


def _service(zervi: Zervi) -> str:
    return zervi.service_token("basic-server")


async def _rotate(stack: Stack) -> None:
    await stack.zervi.rotate()


_ALICE = str(minting.USERS["alice"].user_id)
_BOB = str(minting.USERS["bob"].user_id)
_SPOOFED = {"X-User-ID": "4", "X-User-Role": "super_admin", "X-Service-Id": "looma"}
_NOTHING: Mapping[str, None] = {"x-user-id": None, "x-user-role": None, "x-service-id": None}

_PUBLIC = "Public routes"
_TOKENS = "Authentication"
_PERMISSIONS = "Authorization"
_TODAY = "Tokens as Zervi issues them today (HS256)"
_TRICKS = "Tricks: spoofed headers, other spellings of a protected path"
_KEYS = "Zervi changes its key; the next request is already signed with it"

ROWS = (
    Row(_PUBLIC, "POST /api/auth/login", "no token", 200, "public", reached=_NOTHING),
    Row(
        _PUBLIC,
        "GET /api/auth/me",
        "spoofs headers",
        200,
        "public",
        headers=_SPOOFED,
        reached=_NOTHING,
    ),
    Row(
        _TOKENS,
        "GET /api/services/list",
        "alice",
        200,
        "ok",
        _user("alice"),
        reached={"x-user-id": _ALICE, "x-username": "alice"},
    ),
    Row(
        _TOKENS,
        "GET /api/services/list",
        "张伟",
        200,
        "ok",
        _user("张伟"),
        reached={"x-username": quote("张伟")},
    ),
    Row(_TOKENS, "GET /api/services/list", "no token", 401, "token_missing"),
    Row(_TOKENS, "GET /api/services/list", "alice, expired", 401, "token_expired", _expired),
    Row(_TOKENS, "GET /api/cluster/nodes", "root, forged", 401, "token_signature", _forged),
    Row(_TOKENS, "GET /api/cluster/nodes", "root, alg none", 401, "token_algorithm", _unsigned),
    Row(_PERMISSIONS, "GET /api/cluster/nodes", "bob, admin", 200, "ok", _user("bob")),
    Row(_PERMISSIONS, "GET /api/cluster/nodes", "alice", 403, "permission_denied", _user("alice")),
    Row(
        _PERMISSIONS,
        "GET /api/cluster/nodes",
        "张伟, Chinese",
        403,
        "permission_denied",
        _user("张伟"),
        headers={"Accept-Language": "zh-CN"},
    ),
    Row(_PERMISSIONS, "GET /api/services/list", "guest", 403, "permission_denied", _user("guest")),
    Row(_PERMISSIONS, f"GET /api/users/{_ALICE}/orders/7", "alice", 200, "ok", _user("alice")),
    Row(_PERMISSIONS, f"GET /api/users/{_BOB}/orders/7", "alice", 403, "not_owner", _user("alice")),
    Row(_PERMISSIONS, f"GET /api/users/{_ALICE}/orders/7", "bob, admin", 200, "ok", _user("bob")),
    Row(
        _PERMISSIONS,
        f"DELETE /api/users/{_ALICE}/orders/7",
        "alice",
        405,
        "method_not_allowed",
        _user("alice"),
    ),
    Row(_PERMISSIONS, "GET /api/reports/2026-11", "alice", 403, "role_denied", _user("alice")),
    Row(_PERMISSIONS, "GET /api/reports/2026-11", "root", 200, "ok", _user("root")),
    Row(_PERMISSIONS, "GET /api/unknown", "root", 403, "no_route", _user("root")),
    Row(
        _TRICKS,
        "GET /api/services/list",
        "alice, spoofs",
        200,
        "ok",
        _user("alice"),
        _SPOOFED,
        {"x-user-id": _ALICE, "x-user-role": "user", "x-service-id": None},
    ),
    Row(_TRICKS, "GET /api/auth/%2e%2e/cluster/x", "no token", 401, "token_missing"),
    Row(_TRICKS, "GET /api/auth/..%2fcluster/x", "no token", 400, "malformed_request"),
    Row(_TRICKS, "GET /api/auth/..;/cluster/x", "no token", 401, "token_missing"),
    Row(_TRICKS, "GET /api/auth/login;x=/cluster", "no token", 400, "malformed_request"),
    Row(_TODAY, "GET /api/cluster/nodes", "bob, admin", 200, "ok", _user("bob", "unified-auth")),
    Row(
        _TODAY,
        "GET /api/services/list",
        "alice, gateway",
        200,
        "ok",
        _user("alice", "gateway"),
        reached={"x-user-id": _ALICE},
    ),
    Row(
        _TODAY,
        "GET /api/services/list",
        "alice, refresh",
        401,
        "token_kind",
        _user("alice", "refresh"),
    ),
    Row(
        _TODAY,
        "POST /api/sync/orders",
        "a service",
        200,
        "ok",
        _service,
        reached={"x-service-id": "basic-server", "x-user-id": None},
    ),
    Row(_TODAY, "GET /api/services/list", "a service", 403, "wrong_principal_kind", _service),
    Row(
        _KEYS,
        "GET /api/services/list",
        "alice, new key",
        200,
        "ok",
        _user("alice"),
        before=_rotate,
    ),
)


async def run(stack: Stack) -> AsyncIterator[Result]:
    """Send every row's request, one after the other."""
    async with aiohttp.ClientSession() as session:
        for row in ROWS:
            if row.before is not None:
                await row.before(stack)
            yield await _send(session, stack, row)


async def _send(session: aiohttp.ClientSession, stack: Stack, row: Row) -> Result:
    method, target = row.request.split(" ")
    headers = dict(row.headers)
    if row.token is not None:
        headers["Authorization"] = f"Bearer {await asyncio.to_thread(row.token, stack.zervi)}"
    seen_before = len(stack.basic_server.received)
    url = URL(stack.envoy.url + target, encoded=True)
    async with session.request(method, url, headers=headers) as answer:
        status, text = answer.status, await answer.text()
    body = _json_object(text)
    wrong = [] if status == row.status else [f"HTTP {status} instead of {row.status}"]
    if status >= 400:
        if len(stack.basic_server.received) != seen_before:
            wrong.append("it reached the Basic Server")
        reason, shown = str(body.get("reason") or ""), _quoted(body.get("message"))
    else:
        arrived = {name.lower(): value for name, value in body.get("headers", [])}
        wrong += _differences(row.reached, arrived)
        reason = await _logged_reason(stack, arrived.get("x-request-id", ""))
        shown = _seen(row.reached, arrived)
    if reason != row.reason:
        wrong.append(f"{reason or 'no reason'} instead of {row.reason}")
    return Result(row, status, reason, shown, tuple(wrong))


def _quoted(message: object) -> str:
    return f'the client reads "{message}"' if message else ""


def _seen(names: Collection[str], arrived: Mapping[str, str]) -> str:
    seen = ", ".join(f"{name}: {arrived[name]}" for name in names if name in arrived)
    return f"the Basic Server sees {seen or 'no identity'}" if names else ""


def _differences(expected: Mapping[str, str | None], arrived: Mapping[str, str]) -> list[str]:
    return [
        f"the Basic Server saw {name}: {arrived.get(name)} instead of {value}"
        for name, value in expected.items()
        if arrived.get(name) != value
    ]


async def _logged_reason(stack: Stack, request_id: str) -> str:
    """Find the reason in Envoy's access log, which has it for an allow too."""
    deadline = asyncio.get_running_loop().time() + LOG_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        for line in stack.envoy.process.stdout.read_text().splitlines():
            entry = _json_object(line)
            if entry.get("request_id") == request_id:
                return str(entry.get("reason") or "")
        await asyncio.sleep(_POLL_SECONDS)
    return ""


def _json_object(text: str) -> dict[str, Any]:
    """Read a JSON object; anything else counts as an empty one."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

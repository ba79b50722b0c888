"""Real requests over HTTP/1.1 through a real Envoy: what is allowed, what is denied, and why."""

from urllib.parse import quote, unquote

import pytest

from demo import minting
from demo.stack import Stack
from sidecar.config.removed import REMOVED, REMOVED_WITH_HOSTS
from tests.support.http1 import send

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


async def test_a_public_route_needs_no_token_and_tells_the_upstream_no_identity(port: int) -> None:
    answer = await send(port, "/api/auth/login", method="POST", body=b'{"username":"x"}')
    assert answer.status == 200
    assert answer.json["body"] == '{"username":"x"}'
    assert not [name for name, _ in answer.json["headers"] if name.startswith("x-user")]


async def test_a_public_route_takes_no_notice_of_a_bad_token(port: int) -> None:
    answer = await send(port, "/api/auth/login", _bearer("nonsense"), ("X-User-Id", "4"))
    assert answer.status == 200
    assert answer.arrived("x-user-id") == []


async def test_the_basic_server_gets_the_callers_identity(stack: Stack, port: int) -> None:
    answer = await send(port, "/api/services/list", _bearer(stack.zervi.token("alice")))
    assert answer.status == 200
    alice = minting.USERS["alice"]
    assert answer.arrived("x-user-id") == [str(alice.user_id)]
    assert answer.arrived("x-username") == ["alice"]
    assert answer.arrived("x-user-email") == [alice.email]
    assert answer.arrived("x-user-role") == ["user"]
    assert answer.arrived("x-user-issuer") == [quote(minting.JWKS_ISSUER, safe=":/")]
    permissions = answer.arrived("x-user-permissions")[0].split(",")
    assert {*alice.permissions, "service:access"} <= set(map(unquote, permissions))


async def test_a_chinese_name_arrives_percent_encoded(stack: Stack, port: int) -> None:
    answer = await send(port, "/api/services/list", _bearer(stack.zervi.token("张伟")))
    assert answer.arrived("x-username") == [quote("张伟")]


async def test_a_percent_encoded_chinese_path_is_routed(stack: Stack, port: int) -> None:
    target = "/api/services/" + quote("订单")
    answer = await send(port, target, _bearer(stack.zervi.token("alice")))
    assert answer.status == 200
    assert answer.json["path"] == target


async def test_a_denial_says_what_is_missing(stack: Stack, port: int) -> None:
    answer = await send(port, "/api/cluster/nodes", _bearer(stack.zervi.token("alice")))
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json) == {"error", "code", "message", "reason", "decision_id"}
    assert answer.json["code"] == "INSUFFICIENT_PERMISSIONS"
    assert answer.json["reason"] == "permission_denied"
    assert "cluster:manage" in answer.json["message"]


async def test_a_denial_speaks_chinese_to_who_prefers_it(stack: Stack, port: int) -> None:
    token = _bearer(stack.zervi.token("alice"))
    answer = await send(port, "/api/cluster/nodes", token, ("Accept-Language", "zh-CN,en;q=0.5"))
    assert "权限" in answer.json["message"]


async def test_without_a_token_the_client_is_asked_for_one(port: int) -> None:
    answer = await send(port, "/api/services/list")
    assert answer.status == 401
    assert answer.json["code"] == "AUTH_REQUIRED"
    assert answer.headers["www-authenticate"] == 'Bearer realm="zervi"'


async def test_an_expired_and_a_forged_token_are_invalid(stack: Stack, port: int) -> None:
    key = stack.zervi.keys[-1]
    expired = minting.sign(minting.expired(minting.user_claims("root")), key)
    forged = minting.forge(minting.user_claims("root"), key)
    for token, reason in ((expired, "token_expired"), (forged, "token_signature")):
        answer = await send(port, "/api/services/list", _bearer(token))
        assert answer.status == 401
        assert answer.json["reason"] == reason
        assert answer.headers["www-authenticate"] == 'Bearer realm="zervi", error="invalid_token"'


async def test_a_method_that_the_route_lacks_is_answered_with_those_it_has(port: int) -> None:
    answer = await send(port, "/api/users/2/orders/7", method="DELETE")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_two_authorization_headers_are_one_too_many(stack: Stack, port: int) -> None:
    token = _bearer(stack.zervi.token("alice"))
    answer = await send(port, "/api/services/list", token, _bearer(stack.zervi.token("bob")))
    assert answer.status == 401
    assert answer.json["reason"] == "multiple_credentials"


@pytest.mark.parametrize(
    "header",
    [
        b"X-User-ID: 4",
        b"x-user-id: 4\r\nX-User-Id: 4",
        b"X-USER-ID:4",
        b"X-User-Id: 4\r\nConnection: close, x-user-id",
        b"X-User-Role: super_admin",
        b"X-User-Permissions: *",
        b"X-Service-Id: looma",
        b"X-Service-Token: made-up",
        b"X-Original-URL: /api/cluster/nodes",
        b"X-HTTP-Method-Override: DELETE",
    ],
)
async def test_what_a_client_says_of_itself_never_arrives(
    stack: Stack, port: int, header: bytes
) -> None:
    token = _bearer(stack.zervi.token("alice"))
    answer = await send(port, "/api/services/list", header, token)
    assert answer.status == 200
    name = header.partition(b":")[0].decode().lower()
    ours = {"x-user-role": ["user"], "x-user-id": [str(minting.USERS["alice"].user_id)]}
    if name == "x-user-permissions":
        assert "*" not in answer.arrived(name)[0].split(",")
    else:
        assert answer.arrived(name) in (ours.get(name, []), [])


async def test_what_an_upstream_might_obey_instead_of_the_request_line_never_arrives(
    stack: Stack, port: int
) -> None:
    """One request with all of them. The table names no host, so what names the host arrives."""
    names = (*REMOVED, *REMOVED_WITH_HOSTS)
    sent = [(name, "/api/cluster/nodes") for name in names]
    token = _bearer(stack.zervi.token("alice"))
    answer = await send(port, "/api/services/list", *sent, token)
    assert answer.status == 200
    assert {name for name in names if answer.arrived(name)} == {*REMOVED_WITH_HOSTS}


@pytest.mark.parametrize("name", ["X_User_Id", "x_user-id", "X_SERVICE_ID", "x_user_role"])
async def test_an_underscored_spelling_is_refused(stack: Stack, port: int, name: str) -> None:
    seen = len(stack.basic_server.received)
    token = _bearer(stack.zervi.token("alice"))
    answer = await send(port, "/api/services/list", (name, "4"), token)
    assert answer.status == 400
    assert len(stack.basic_server.received) == seen


@pytest.mark.parametrize(
    "target",
    [
        "/api/auth/../cluster/nodes",
        "/api/auth/%2e%2e/cluster/nodes",
        "/api/auth/%2E./cluster/nodes",
        "/api/auth/x/../../cluster/nodes",
        "//api/cluster/nodes",
        "/api//cluster/nodes",
        "/api/./cluster/nodes",
        "/api/%63luster/nodes",
        "/api/cluster/nodes/",
        "/api/cluster/nodes?/../../auth/login",
        "/api/cluster/nodes?next=/api/auth/login",
        "http://api.jobfirst.local/api/cluster/nodes",
        "/api/auth/..%2fcluster/nodes",
        "/api/auth/..%5ccluster/nodes",
        "/api/auth\\..\\cluster/nodes",
        "/api/auth/..;/cluster/nodes",
        "/api/auth;/../cluster/nodes",
        "/api/auth/%252e%252e/cluster/nodes",
        "/api/auth/%2e%2e%2fcluster/nodes",
        "/api/auth/login%00/../../cluster/nodes",
        "/api/auth/../cluster/nodes#/api/auth/login",
        "/api/auth/%c0%ae%c0%ae/cluster/nodes",
        "*",
        "?/api/auth/login",
    ],
)
async def test_no_spelling_of_a_protected_path_is_public(
    stack: Stack, port: int, target: str
) -> None:
    seen = len(stack.basic_server.received)
    answer = await send(port, target)
    assert answer.status in (400, 401, 403, 404)
    assert len(stack.basic_server.received) == seen


async def test_invalid_utf8_in_a_path_is_denied(stack: Stack, port: int) -> None:
    seen = len(stack.basic_server.received)
    answer = await send(port, b"/api/auth/\xff\xfe/../cluster/nodes")
    assert answer.status == 400
    assert len(stack.basic_server.received) == seen


@pytest.mark.parametrize(
    ("target", "header", "status", "message"),
    [
        ("/api/auth/login", b"X_User_ID: 4", 400, "http1.unexpected_underscore"),
        ("/api/auth/..%2fcluster", b"X-Any: 1", 400, "path_normalization_failed"),
        ("/api/auth/login", b"no header", 400, "http1.codec_error"),
        ("/api/auth/login", b"X-Large: " + b"x" * 70_000, 431, "http1.headers_too_large"),
    ],
)
async def test_envoys_own_refusals_have_the_form_of_a_denial(
    port: int, target: str, header: bytes, status: int, message: str
) -> None:
    answer = await send(port, target, header)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"error", "code", "message", "reason", "decision_id"}
    assert answer.json["code"] == "BAD_REQUEST"
    assert answer.json["reason"] == "malformed_request"
    assert answer.json["message"] == f"the request is malformed: {message}"


async def test_a_preflight_of_a_known_origin_is_answered_by_envoy(stack: Stack, port: int) -> None:
    seen = len(stack.basic_server.received)
    answer = await send(
        port,
        "/api/cluster/nodes",
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "GET"),
        method="OPTIONS",
    )
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert len(stack.basic_server.received) == seen


PREFLIGHT = (("Origin", "https://other.example"), ("Access-Control-Request-Method", "GET"))


async def test_another_origins_preflight_is_answered_by_the_sidecar(
    stack: Stack, port: int
) -> None:
    """With an empty 204, so that the browser refuses; no handler runs, whatever comes along."""
    seen = len(stack.basic_server.received)
    token = _bearer(stack.zervi.token("root"))
    for more, body in (((), b""), ((token, ("Cookie", "session=1")), b'{"delete": "all"}')):
        answer = await send(
            port, "/api/cluster/nodes", *PREFLIGHT, *more, method="OPTIONS", body=body
        )
        assert (answer.status, answer.body) == (204, "")
        headers = {*answer.headers} - {"date", "server", "connection"}
        assert not headers
    assert len(stack.basic_server.received) == seen


async def test_a_preflight_of_a_public_route_passes_without_identity(
    stack: Stack, port: int
) -> None:
    """As OPTIONS, as any method of that route."""
    answer = await send(port, "/api/auth/login", *PREFLIGHT, ("X-User-Id", "4"), method="OPTIONS")
    assert answer.status == 200
    assert answer.json["method"] == "OPTIONS"
    assert answer.arrived("x-user-id") == []


async def test_a_browsers_script_can_read_a_denial(port: int) -> None:
    answer = await send(port, "/api/services/list", ("Origin", "http://localhost:3000"))
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


async def test_too_many_bytes_of_headers_never_reach_the_sidecar(stack: Stack, port: int) -> None:
    seen = len(stack.basic_server.received)
    answer = await send(port, "/api/auth/login", ("X-Large", "x" * 70_000))
    assert answer.status == 431
    assert len(stack.basic_server.received) == seen


@pytest.mark.parametrize("style", sorted({*minting.STYLES} - {"refresh"}))
async def test_every_token_that_zervi_issues_today_is_understood(
    stack: Stack, port: int, style: str
) -> None:
    answer = await send(port, "/api/services/list", _bearer(stack.zervi.token("alice", style)))
    assert answer.status == 200, answer.body
    assert answer.arrived("x-user-id") == [str(minting.USERS["alice"].user_id)]


async def test_a_refresh_token_is_not_for_requests(stack: Stack, port: int) -> None:
    token = _bearer(stack.zervi.token("alice", "refresh"))
    answer = await send(port, "/api/services/list", token)
    assert answer.status == 401
    assert answer.json["reason"] == "token_kind"


async def test_a_service_is_identified_as_a_service(stack: Stack, port: int) -> None:
    token = _bearer(stack.zervi.service_token("basic-server"))
    answer = await send(port, "/api/sync/orders", token, ("X-User-Id", "4"), method="POST")
    assert answer.status == 200
    assert answer.arrived("x-service-id") == ["basic-server"]
    assert answer.arrived("x-user-id") == []


async def test_a_client_cannot_choose_its_request_id(stack: Stack, port: int) -> None:
    answer = await send(port, "/api/auth/login", ("X-Request-Id", "mine"))
    (request_id,) = answer.arrived("x-request-id")
    assert request_id != "mine"
    denied = await send(port, "/api/services/list")
    assert len(denied.json["decision_id"]) == len(request_id)

"""HTTP/2 through a real Envoy, where a header may hold any byte."""

import pytest

from demo import minting
from demo.stack import Stack
from tests.support.http2 import send

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


async def test_allowed_and_denied_as_over_http1(stack: Stack, port: int) -> None:
    token = _bearer(stack.zervi.token("alice"))
    allowed = await send(port, "/api/services/list", token, ("x-user-id", "4"))
    assert allowed.status == 200
    assert allowed.arrived("x-user-id") == [str(minting.USERS["alice"].user_id)]
    denied = await send(port, "/api/cluster/nodes", token)
    assert denied.status == 403
    assert denied.json["reason"] == "permission_denied"


async def test_doubles_of_an_identity_header_collapse_into_ours(stack: Stack, port: int) -> None:
    token = _bearer(stack.zervi.token("alice"))
    spoofed = (("x-user-id", "4"), ("x-user-id", "5"), ("x-service-id", "looma"))
    answer = await send(port, "/api/services/list", *spoofed, token, *spoofed)
    assert answer.arrived("x-user-id") == [str(minting.USERS["alice"].user_id)]
    assert answer.arrived("x-service-id") == []


async def test_two_authorization_headers_are_one_too_many(stack: Stack, port: int) -> None:
    token = _bearer(stack.zervi.token("alice"))
    answer = await send(port, "/api/services/list", token, token)
    assert answer.status == 401
    assert answer.json["reason"] == "multiple_credentials"


@pytest.mark.parametrize("name", ["x_user_id", "X-User-Id", "x-user-id ", "x-user-id\x00"])
async def test_a_name_that_could_be_read_as_ours_breaks_the_stream(
    stack: Stack, port: int, name: str
) -> None:
    seen = len(stack.basic_server.received)
    token = _bearer(stack.zervi.token("alice"))
    answer = await send(port, "/api/services/list", token, (name, "4"))
    assert answer.status in (None, 400)
    assert len(stack.basic_server.received) == seen


@pytest.mark.parametrize(
    "path",
    [
        b"/api/auth/\xff/../../cluster/nodes",
        b"/api/auth/../cluster/nodes",
        b"/api/auth/%2e%2e/cluster/nodes",
        b"/api/auth\\..\\cluster\\nodes",
        b"/api/auth/\x00/../../cluster/nodes",
        b"/api/auth/login\r\nx-user-id: 4",
        b"/api/cluster/nodes#/../../auth/login",
        b"/api/auth/..;/cluster/nodes",
        b"/api/cluster/\xe8\xae\xa2\xe5\x8d\x95",
        b"api/auth/login",
        b"",
        b"*",
        b"http://api.jobfirst.local/api/cluster/nodes",
    ],
)
async def test_no_byte_in_a_path_makes_a_protected_one_public(
    stack: Stack, port: int, path: bytes
) -> None:
    seen = len(stack.basic_server.received)
    answer = await send(port, path)
    assert answer.status in (None, 400, 401, 403, 404)
    assert len(stack.basic_server.received) == seen


async def test_a_second_path_is_refused(stack: Stack, port: int) -> None:
    seen = len(stack.basic_server.received)
    answer = await send(port, "/api/auth/login", (":path", "/api/cluster/nodes"))
    assert answer.status in (None, 400)
    assert len(stack.basic_server.received) == seen

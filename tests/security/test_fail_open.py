"""Through a real Envoy that fails open: faults, hostile claims and spoofed names get nothing."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from demo import minting
from demo.stack import Stack
from sidecar.config.removed import REMOVED
from sidecar.core.tokens.principal import IdentityHeaders
from tests.security.conftest import envoy_errors
from tests.security.faults import function_named
from tests.support import http1, http2

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTED = "/api/services/list"
FUNCTIONS = (
    "core.decision:decide",
    "core.authentication:authenticate",
    "core.tokens.verify:verify",
    "core.tokens.principal:identity_values",
    "extauthz.envelope:open_envelope",
    "extauthz.respond:Responder.build",
    "extauthz.respond:Responder.addendum",
    "extauthz.service:CheckService._answer",
    "extauthz.service:CheckService.check",
)
FAULTS = [
    f"{function}:{what}"
    for function in FUNCTIONS
    for what in ("raise", "none", "true", "empty", "list", "object")
]
SET = IdentityHeaders().never_from_clients()
NAMES = (*SET, *REMOVED)


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


def signed(stack: Stack, **claims: Any) -> tuple[str, str]:
    """Sign claims with today's secret, with every listed permission and role."""
    good = minting.user_claims("alice", "unified-auth")
    return bearer(minting.sign({**good, "permissions": ["service:access"], **claims}, stack.secret))


async def test_a_fault_in_any_function_is_a_denial(open_stack: Stack) -> None:
    """With a good token and without one; Envoy counts no error and lets nothing through."""
    for function in FUNCTIONS:
        assert function_named(function)  # a name that is missing would be a denial, too
    before = len(open_stack.basic_server.received)
    for fault in FAULTS:
        # A new token each time: what a function did for an earlier one is remembered.
        token = signed(open_stack, jti=fault)
        for headers in ([token], []):
            answer = await http1.send(open_stack.ports.envoy, LISTED, ("x-fault", fault), *headers)
            assert answer.status == 503 or not headers, fault
            assert answer.status in (401, 503), fault
            assert "injected" not in answer.body
    assert len(open_stack.basic_server.received) == before
    assert await envoy_errors(open_stack) == 0


HOSTILE: dict[str, dict[str, Any]] = {
    "line breaks": {"username": "a\r\nx-user-id: 4\r\n\r\nGET / HTTP/1.1", "email": "\n"},
    "NUL": {"username": "a\0b", "email": "\0"},
    "controls": {"username": "".join(map(chr, range(0x20))) + "\x7f\x80\x9f"},
    "odd Unicode": {"username": "\u202e\u2028\ufeff\U0001f600\U0010ffff", "role": "订单,%"},
    "the escape itself": {"username": "%0d%0ax-user-id: 4", "role": "a%2Cb,c"},
    "commas": {"permissions": ["service:access", "a,*", "*,", ",", " "]},
    "header syntax": {"username": ' "a"; b=c, d\\', "email": ":x-user-id: 4"},
    "a long name": {"username": "n" * 5500},
    "a long name that grows": {"username": "名" * 600},
    "a name too long once it is escaped": {"username": "%" * 3000},
    "a long subject": {"user_id": "s" * 5500},
    "a large number": {"user_id": 10**60},
    "a negative number": {"user_id": -1},
    "too large a number": {"user_id": 10**70},
    "many permissions": {"permissions": ["service:access", *(f"p{n}" for n in range(600))]},
    "many roles": {"role": "user", "roles": [f"r{n}" for n in range(600)]},
    "permissions of a role that just fit": {"role": "large"},
    "100,000 permissions of a role": {"role": "huge"},
    "many tiny claims": {f"c{n}": n for n in range(400)},
    "wrong types": {"username": {"a": 1}, "email": [1], "role": 7, "roles": {"x": 1}},
    "a subject that is a list": {"user_id": [1], "sub": "7"},
    "half a pair": {"username": "\ud800"},
    "half a pair in a list": {"permissions": ["service:access", "\udfff"]},
    "half a pair as a name": {"\udc00": 1},
    "an issuer's name": {"iss": "jobfirst-auth\r\n"},
}


def nested(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


HOSTILE["60 levels"] = {"nested": nested(60)}
HOSTILE["60 levels of permissions"] = {"permissions": nested(60)}
HOSTILE["15 levels"] = {"metadata": nested(14)}

DENIED = {
    "a name too long once it is escaped": "token_claims",
    "100,000 permissions of a role": "token_claims",
    "a subject that is a list": "token_claims",
    "too large a number": "token_malformed",
    "half a pair": "token_malformed",
    "half a pair in a list": "token_malformed",
    "half a pair as a name": "token_malformed",
    "60 levels": "token_malformed",
    "60 levels of permissions": "token_malformed",
    "an issuer's name": "token_issuer",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
async def test_a_hostile_claim_arrives_escaped_or_is_denied(
    open_stack: Stack, kind: str, client: Any
) -> None:
    """A value that the Basic Server decodes to the claim, or a denial with a reason."""
    claims = HOSTILE[kind]
    token = signed(open_stack, **claims)
    answer = await client.send(open_stack.ports.envoy, LISTED, token, ("x-user-id", "4"))
    assert await envoy_errors(open_stack) == 0
    if kind in DENIED:
        assert (answer.status, answer.json["reason"]) == (401, DENIED[kind])
        return
    assert answer.status == 200
    for _, value in answer.json["headers"]:
        assert re.fullmatch(r"[ -~]*", value)
    wanted = {**minting.user_claims("alice", "unified-auth"), **claims}
    assert_arrived(answer, "x-user-id", str(wanted["user_id"]))
    for name, claim in (("x-username", "username"), ("x-user-email", "email")):
        value = wanted[claim]
        assert_arrived(answer, name, value if isinstance(value, str) else None)
    if "permissions" in claims:
        (arrived,) = answer.arrived("x-user-permissions")
        assert {*map(unquote, arrived.split(","))} >= set(claims["permissions"])


def assert_arrived(answer: Any, name: str, wanted: str | None) -> None:
    assert [unquote(value) for value in answer.arrived(name)] == (
        [] if wanted is None else [wanted]
    )


def spellings(name: str) -> Iterator[bytes]:
    """Write a name as clients could, in the hope that a server takes it for the true one."""
    camel = "-".join(part.capitalize() for part in name.split("-"))
    yield from (spelled.encode() for spelled in (name, name.upper(), camel, name, name.swapcase()))
    for separator in "_.~!|'":
        yield name.replace("-", separator).encode()
        yield name.replace("-", separator, 1).upper().encode()


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("kind", ["user", "service", "public", "options"])
async def test_no_spelling_of_an_identity_header_arrives(
    open_stack: Stack, bare_envoy: int, kind: str, client: Any
) -> None:
    """Each in every spelling together, doubled, and listed as hop-by-hop in `connection`."""
    method, target, own = {
        "user": ("GET", LISTED, [signed(open_stack)]),
        "service": (
            "POST",
            "/api/sync/orders",
            [bearer(open_stack.zervi.service_token("looma"))],
        ),
        "public": ("GET", "/api/auth/login", [signed(open_stack)]),
        "options": (
            "OPTIONS",
            "/api/auth/login",
            [("origin", "https://a.test"), ("access-control-request-method", "GET")],
        ),
    }[kind]
    expected = {
        "user": {"x-user-id": "2", "x-username": "alice", "x-user-issuer": "jobfirst-auth"},
        "service": {"x-service-id": "looma", "x-user-issuer": "zervigo-service-auth"},
    }.get(kind, {})

    async def send(name: str) -> None:
        spoofed = [(written.decode(), "spoofed-4") for written in spellings(name)]
        if client is http2:  # where upper case makes a name invalid
            spoofed = [(written, value) for written, value in spoofed if written.islower()]
        answer = await client.send(
            bare_envoy, target, *spoofed, *own, *spoofed[::-1], method=method
        )
        assert answer.status == 200, answer.body
        assert "spoofed-4" not in answer.body, name
        for header, value in expected.items():
            assert answer.arrived(header) == [value]
        seen = {key.lower() for key, _ in answer.json["headers"]}
        looks = {re.sub("[^a-z0-9]", "-", key) for key in seen}
        assert looks & set(NAMES) <= set(SET) & seen

    await asyncio.gather(*map(send, NAMES))
    assert await envoy_errors(open_stack) == 0


HOPS = (
    b"Connection: close, %s",
    b"Connection: %s\r\nConnection: close",
    b"Connection: close\r\nKeep-Alive: %s",
    b"Connection: close\r\nProxy-Connection: %s",
    b"Connection: close\r\nTE: %s",
    b"Connection: close\r\nTrailer: %s",
)


@pytest.mark.parametrize("line", HOPS)
async def test_no_hop_by_hop_trick_drops_an_identity_header(open_stack: Stack, line: bytes) -> None:
    """``Connection: x-user-id`` asks the next hop to drop it; Envoy keeps it."""
    names = b", ".join(name.encode() for name in SET)
    headers = line.replace(b"%s", names)
    answer = await http1.send(
        open_stack.ports.envoy, LISTED, headers, b"X-User-Id: 4", signed(open_stack)
    )
    assert await envoy_errors(open_stack) == 0
    assert answer.status == 200
    assert answer.arrived("x-user-id") == ["2"]
    assert answer.arrived("x-username") == ["alice"]
    assert answer.arrived("connection") == []

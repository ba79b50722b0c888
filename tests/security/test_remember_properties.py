"""With and without memory, every request gets the same answer and looks the same to the upstream.

For generated configurations and requests, through a real Envoy with a listener of each kind. The
short run is part of the suite. ``REMEMBER_EXAMPLES=100000 make test ARGS="-o
faulthandler_timeout=0 tests/security/test_remember_properties.py"`` runs as long as you let it.
"""

import asyncio
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from demo import minting
from tests.support.remember_pair import Pair, pair

EXAMPLES = int(os.environ.get("REMEMBER_EXAMPLES", "3"))
GROUPS, VARIANTS = 4, 6  # of requests of one configuration: one, and what is near it
TOKENS, SERVICE = 9, 4  # how many there are; the one of a service
SECRET = "a secret made up for the tests of what Envoy remembers"
ISSUER = "jobfirst-auth"
HOSTS = ("api.example", "API.example:80", "api.example:443", "api.example.", "other.example")
PATHS = (
    *("/open/1", "/closed/7", "/closed/8", "/maybe/7", "/orders/7/x", "/both/7", "/hosted/1"),
    *("/admin/7", "/closed/7/", "/Closed/7", "/closed/7?a=1", "/none", "/closed/%37"),
    *("/closed/7?a=1&b=2", "/closed/7?b=2&a=1", "/closed/7;x", "/closed/7?", "/open/../closed/7"),
)
# `{}` is a token.
PLACES = (
    "Authorization: Bearer {}",
    "Authorization: bearer  {}",
    "X-Token: {}",
    "Cookie: session={}",
    "Cookie: a=b; session={}",
    "Sec-WebSocket-Protocol: bearer, {}",
    "X-Service-Token: {}",
)
METHODS = ("GET", "POST", "OPTIONS", "DELETE")
FIXED = (
    *("X-User-Id: 9", "X.User.Id: 9", "X-Caller: 9", "x~caller: 9", "X-Tenant-Id: 9"),
    *("X-Original-Url: /x", "X-Http-Method-Override: PUT", "X-Other: 1", "Cookie: a=b"),
    *("Origin: https://app.example", "Origin: https://evil.example", "Accept-Language: zh"),
    *("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
    "Access-Control-Request-Method: GET",
    # Empty, more than once in a line, hop by hop, of other protocols.
    *("Authorization:", "Authorization: Basic eA==", "X-Token:", "X-User-Id:", "Cookie: session="),
    *("X-Token: a, b", "X-User-Id: 9,10", "Cookie: a=b; a=c", "X-Service-Token: "),
    *("Connection: close, X-User-Id", "Connection: close, Authorization", "TE: trailers"),
    *("Connection: Upgrade\r\nUpgrade: websocket", "Upgrade: h2c", "Expect: 100-continue"),
    *("Content-Type: application/grpc", "X-Forwarded-Host: evil.example", "Host2: x"),
)

_HEADER = {"header": "authorization", "scheme": "Bearer"}
_SOURCES = st.lists(
    st.sampled_from(
        [
            _HEADER,
            {"header": "x-token"},
            {"cookie": "session", "origins": ["https://app.example"]},
            {"query": "access_token"},
            {"websocket_protocol": "bearer"},
        ]
    ),
    min_size=1,
    max_size=3,
    unique_by=str,
)
_ROUTES: dict[str, dict[str, Any]] = {
    "/open/*": {"auth_required": False},
    "/closed/*": {"permissions": ["closed:read"]},
    "/maybe/*": {"auth_required": "optional"},
    "/orders/{id}/*": {"owner": "id", "methods": ["GET", "POST"]},
    "/both/*": {"principals": "both"},
    "/hosted/*": {"hosts": ["api.example"], "permissions": ["closed:read"]},
    "/admin/*": {"roles": ["admin"]},
}


@st.composite
def configurations(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a ``sidecar.yaml`` and its routes."""
    zervi: dict[str, Any] = {
        "issuers": [
            {"issuer": ISSUER, "secret_env": "ZERVI_JWT_SECRET", "allow_missing_issuer": True}
        ],
        "token_sources": draw(_SOURCES),
        "claims": draw(st.sampled_from([{}, {"headers": {"x-tenant-id": ["tid"]}}])),
    }
    names = [*_ROUTES]
    if draw(st.booleans()):
        zervi["service_token_sources"] = [{"header": "x-service-token"}]
    else:
        names.remove("/both/*")
    policy: dict[str, Any] = {
        "file": "routes.yaml",
        "forward_authorization": draw(st.booleans()),
        "cors_preflight": draw(st.sampled_from(["answer", "off"])),
        "upstream": draw(st.sampled_from(["generic", "go", "express"])),
    }
    if draw(st.booleans()):
        policy["remove_headers"] = draw(st.sampled_from([[], ["x-original-url", "x-other"]]))
    if draw(st.booleans()):
        policy["identity_headers"] = {"username": None, "subject": "x-caller"}
    chosen = draw(st.lists(st.sampled_from(names), min_size=3, unique=True))
    routes = [{"path": path, **_ROUTES[path]} for path in chosen]
    settings = {"zervi": zervi, "policy": policy}
    return settings, {"api_gateway": {"routes": routes}}


def _tokens() -> list[str]:
    now = int(time.time())
    users: list[dict[str, Any]] = [
        {"user_id": 7, "username": "a", "role": "user", "permissions": ["closed:read"], "tid": "t"},
        {"user_id": 8, "username": "b", "role": "admin", "permissions": [], "tid": "é\n%"},
        {"user_id": 7, "username": "late", "permissions": ["closed:read"], "exp": now - 5},
        {"user_id": 7, "username": "old", "permissions": ["closed:read"], "exp": now - 500},
        {"service_id": "s", "iss": ISSUER},
        {"user_id": 7, "permissions": ["closed:read"], "pad": "x" * 5000},
        {"user_id": 9, "username": "c", "role": "admin", "permissions": ["closed:read"]},
    ]
    tokens = [minting.sign({"exp": now + 3600, **each}, SECRET.encode()) for each in users]
    return [*tokens, "nonsense", ""]


class Request(NamedTuple):
    """A request; ``path`` and each header have the number of the token that `{}` stands for."""

    method: str
    host: str
    path: tuple[str, int]
    headers: tuple[tuple[str, int], ...]

    def variant(self, random: Random) -> "Request":
        """Return a request that differs in one thing, which may decide or not."""
        headers, other = [*self.headers], random.randrange(TOKENS)
        place = random.randrange(len(headers)) if headers else 0
        match random.randrange(9):
            case 0 if headers:
                headers[place] = headers[place][0], other
            case 1 if headers:
                headers.append(headers[place])
            case 2 if headers:
                del headers[place]
            case 3:
                random.shuffle(headers)
            case 4:
                headers.append((random.choice(PLACES), other))
            case 5:
                return self._replace(host=random.choice(HOSTS))
            case 6:
                return self._replace(path=(random.choice((self.path[0], *PATHS)), other))
            case 7:
                return self._replace(method=random.choice(METHODS))
            case _:
                headers.append((random.choice(FIXED), 0))
        return self._replace(headers=tuple(headers))


def _good(configuration: Any, random: Random) -> Request:
    """Return a request that the configuration may well allow."""
    settings, table = configuration
    paths = [route["path"] for route in table["api_gateway"]["routes"]]
    fitting = [each for each in PATHS if any(_begins(each, path) for path in paths)]
    path, headers = random.choice(fitting or PATHS), []
    source = random.choice(settings["zervi"]["token_sources"])
    match next(iter(source)):
        case "header":
            headers.append(("Authorization: Bearer {}" if "scheme" in source else "X-Token: {}", 0))
        case "cookie":
            headers += [("Cookie: session={}", 0), ("Sec-Fetch-Site: same-origin", 0)]
        case "websocket_protocol":
            headers.append(("Sec-WebSocket-Protocol: bearer, {}", 0))
        case _:
            path += ("&" if "?" in path else "?") + "access_token={}"
    if "/both/" in path:
        headers.append(("X-Service-Token: {}", SERVICE))
    if random.random() < 0.3:
        headers.append((random.choice(FIXED), 0))
    return Request("GET", "api.example", (path, 0), tuple(headers))


def _begins(path: str, pattern: str) -> bool:
    return path.split("/")[1] == pattern.split("/")[1]


TALLY: Counter[str] = Counter()


@pytest.mark.timeout(60 + 20 * EXAMPLES)
@settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.generate])
@given(configurations(), st.randoms())
def test_with_and_without_memory_all_is_the_same(
    configuration: tuple[dict[str, Any], dict[str, Any]], random: Random
) -> None:
    asyncio.run(_compare(configuration, random))


async def _compare(configuration: Any, random: Random) -> None:
    tokens = _tokens()
    assert len(tokens) == TOKENS
    with tempfile.TemporaryDirectory(prefix="remember-") as directory:
        async with pair(Path(directory), *configuration, secret=SECRET) as both:
            for _ in range(GROUPS):
                base = _good(configuration, random)
                near = [base.variant(random) for _ in range(VARIANTS)]
                further = [each.variant(random) for each in near]
                for request in (base, base, *near, *further, *near, base):
                    await _both(both, request, tokens)


async def _both(both: Pair, request: Request, tokens: list[str]) -> None:
    method, host, (path, number), headers = request
    lines = tuple(text.format(tokens[index]).encode() for text, index in headers)
    sent = method, path.replace("{}", tokens[number]).encode(), host, lines
    without = await both.send(both.asks, *sent)
    before = len(both.records)
    remembered = await both.send(both.remembers, *sent)
    TALLY["asked" if len(both.records) > before else "remembered"] += 1
    assert remembered == without, request


def test_the_comparison_has_seen_the_memory() -> None:
    """Otherwise it has compared nothing: this runs after it."""
    assert TALLY["remembered"] > TALLY["asked"] / 50

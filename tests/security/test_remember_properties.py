"""With and without memory, every request gets the same answer and looks the same to the upstream.

For generated configurations and requests, through a real Envoy with a listener of each kind. The
short run is part of the suite. ``REMEMBER_EXAMPLES=100000 make test
ARGS=tests/security/test_remember_properties.py`` runs as long as you let it.
"""

import asyncio
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from demo import minting
from tests.support.remember_pair import pair

EXAMPLES = int(os.environ.get("REMEMBER_EXAMPLES", "3"))
REQUESTS = 60  # of one configuration
SECRET = "a secret made up for the tests of what Envoy remembers"
ISSUER = "jobfirst-auth"
HOSTS = ("api.example", "API.example:80", "other.example")
PATHS = (
    *("/open/1", "/closed/7", "/closed/8", "/maybe/7", "/orders/7/x", "/both/7", "/hosted/1"),
    *("/admin/7", "/closed/7/", "/Closed/7", "/closed/7?a=1", "/none", "/closed/%37"),
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
FIXED = (
    *("X-User-Id: 9", "X.User.Id: 9", "X-Caller: 9", "x~caller: 9", "X-Tenant-Id: 9"),
    *("X-Original-Url: /x", "X-Http-Method-Override: PUT", "X-Other: 1", "Cookie: a=b"),
    *("Origin: https://app.example", "Origin: https://evil.example", "Accept-Language: zh"),
    *("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
    "Access-Control-Request-Method: GET",
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
_ROUTES = {
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
    ]
    tokens = [minting.sign({"exp": now + 3600, **each}, SECRET.encode()) for each in users]
    return [*tokens, "nonsense", ""]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, str, tuple[tuple[str, int], ...]]:
    """Make a request: method, host, target, headers with the number of a token."""
    places = st.sampled_from(PLACES)
    headers = draw(st.lists(st.tuples(places, st.integers(0, 7)), max_size=2))
    fixed = st.sampled_from(FIXED)
    more = draw(st.lists(fixed, max_size=3))
    query = draw(st.sampled_from(["", "", "", "access_token={}", "a=1&access%5Ftoken={}"]))
    path = draw(st.sampled_from(PATHS))
    if query:
        path += ("&" if "?" in path else "?") + query
    method = draw(st.sampled_from(["GET", "GET", "GET", "POST", "OPTIONS", "DELETE"]))
    host = draw(st.sampled_from(HOSTS))
    number = draw(st.integers(0, 7))
    return method, host, path, ((path, number), *headers, *((each, 0) for each in more))


TALLY: Counter[str] = Counter()


@settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.generate])
@given(configurations(), st.lists(requests(), min_size=8, max_size=20), st.randoms())
def test_with_and_without_memory_all_is_the_same(
    configuration: tuple[dict[str, Any], dict[str, Any]],
    pool: list[tuple[str, str, str, tuple[tuple[str, int], ...]]],
    random: Any,
) -> None:
    asyncio.run(_compare(configuration, pool, random))


async def _compare(configuration: Any, pool: list[Any], random: Any) -> None:
    tokens = _tokens()
    with tempfile.TemporaryDirectory(prefix="remember-") as directory:
        async with pair(Path(directory), *configuration, SECRET) as both:
            for _ in range(REQUESTS):
                method, host, _, ((path, number), *headers) = random.choice(pool)
                target = path.replace("{}", tokens[number]).encode()
                lines = tuple(text.format(tokens[index]).encode() for text, index in headers)
                request = method, target, host, lines
                without = await both.send(both.asks, *request)
                before = len(both.records)
                remembered = await both.send(both.remembers, *request)
                TALLY["asked" if len(both.records) > before else "remembered"] += 1
                assert remembered == without, request


def test_the_comparison_has_seen_the_memory() -> None:
    """Otherwise it has compared nothing: this runs after it."""
    assert TALLY["remembered"] > TALLY["asked"] / 50

"""Through a real Envoy: a token that the Basic Server must not get is taken out, nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from demo.envoy import ext_authz_filter
from demo.stack import BOOTSTRAPS, Setup, Stack
from sidecar.documents import own_yaml
from tests.e2e.conftest import ROUTES, StartStack
from tests.support import http2
from tests.support.http1 import Answer, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTED = "/api/services/list"


def _with_cookies() -> dict[str, Any]:
    """Return the filter's rules as shipped, with ``cookie`` among the headers that may change."""
    rules = ext_authz_filter(own_yaml.read(BOOTSTRAPS / "envoy.yaml"))[
        "decoder_header_mutation_rules"
    ]
    rules["allow_expression"]["regex"] += "|cookie"
    return {"decoder_header_mutation_rules": rules}


def _withhold(config: dict[str, Any]) -> None:
    config["policy"]["forward_authorization"] = False
    config["zervi"]["token_sources"] = [{"cookie": "session"}, {"query": "access_token"}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def withholding(start_stack: StartStack) -> AsyncIterator[Stack]:
    """Run a stack whose Basic Server gets no token."""
    setup = Setup(routes=ROUTES, configure=_withhold, ext_authz=_with_cookies())
    async with start_stack(setup) as made:
        yield made


async def _ask(stack: Stack, target: str, *cookies: str) -> Answer:
    answer = await send(
        stack.ports.envoy, target, *(f"Cookie: {cookie}".encode() for cookie in cookies)
    )
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.parametrize(
    ("cookies", "arrive"),
    [
        (["session={}"], []),
        (["a=1; session={}; b=2"], ["a=1; b=2"]),
        (["session={}; b=2"], ["b=2"]),
        (["a=1; session={}"], ["a=1"]),
        (["a=1;session={};b=2"], ["a=1;b=2"]),
        (["a=1,2; session={}"], ["a=1,2"]),
        (["a=1", "session={}"], ["a=1"]),
        (['a="x;y"; session={}; b=€'], ['a="x;y"; b=€']),
        (["session={}; session={}"], []),
    ],
)
async def test_of_a_cookie_header_only_the_token_is_taken(
    withholding: Stack, cookies: list[str], arrive: list[str]
) -> None:
    token = withholding.zervi.token("alice")
    sent = [cookie.replace("{}", token) for cookie in cookies]
    for _ in range(3):
        answer = await _ask(withholding, LISTED, *sent)
        assert answer.arrived("cookie") == arrive
        assert token not in answer.body


async def test_of_the_cookie_fields_of_http2_only_the_token_is_taken(withholding: Stack) -> None:
    """A browser sends each cookie as a field of its own there (RFC 9113 section 8.2.3)."""
    cookies = ("a=1", f"session={withholding.zervi.token('alice')}", "b=2")
    sent = [("cookie", cookie) for cookie in cookies]
    answer = await http2.send(withholding.ports.envoy, LISTED, *sent)
    assert answer.status == 200, answer.body
    assert answer.arrived("cookie") == ["a=1; b=2"]


async def test_a_cookie_header_without_the_token_is_unchanged(withholding: Stack) -> None:
    odd = 'a="1;;  b = 2,, $c'
    answer = await _ask(withholding, "/api/auth/login", odd)
    assert answer.arrived("cookie") == [odd]


async def test_of_a_query_only_the_token_is_taken_and_envoy_sorts_the_rest(
    withholding: Stack,
) -> None:
    token = withholding.zervi.token("alice")
    for target, arrives in (
        (f"{LISTED}?access_token={token}", LISTED),
        (f"{LISTED}?b=2&access_token={token}&a=1", f"{LISTED}?a=1&b=2"),
        (f"{LISTED}?b=2&access%5Ftoken={token}&a=1", f"{LISTED}?a=1&b=2"),
        (f"{LISTED}?c&b=%41+%2B&&access_token={token}&a=2&a=1", f"{LISTED}?=&a=2&a=1&b=%41+%2B&c="),
    ):
        answer = await _ask(withholding, target)
        assert answer.json["path"] == arrives


async def test_a_query_without_the_token_is_left_as_it_is(withholding: Stack) -> None:
    cookie = f"session={withholding.zervi.token('alice')}"
    target = f"{LISTED}?b=2&a=1&&c&a=0"
    assert (await _ask(withholding, target, cookie)).json["path"] == target

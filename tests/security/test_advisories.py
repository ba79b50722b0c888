"""The published cases of tests/core/advisories.py through real Envoys, over HTTP/1.1 and HTTP/2.

Envoys: ours, one that cleans nothing, and each without ``encode_raw_headers``.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio
import yaml

from demo.stack import Setup, Stack
from tests.core.advisories import CASES, HOST, LEGITIMATE, ROUTES, Case
from tests.core.upstreams import UPSTREAMS, RejectedError, view
from tests.e2e.conftest import StartStack
from tests.support import http1, http2
from tests.support.envoy_before import envoy_before, port_of
from tests.support.policies import policy

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLEANS_NOTHING: Mapping[str, Any] = {
    "normalize_path": False,
    "merge_slashes": False,
    "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
}
COOKED: Mapping[str, Any] = {"encode_raw_headers": False}
KINDS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "hardened": ({}, {}),
    "hardened-cooked": ({}, COOKED),
    "bare": (CLEANS_NOTHING, {}),
    "bare-cooked": (CLEANS_NOTHING, COOKED),
}
TABLE = policy(ROUTES)


def as_yaml() -> str:
    """Write the advisories' table as a route file."""
    routes = [
        {"path": route.path, "name": route.name}
        | ({"hosts": sorted(route.hosts)} if route.hosts else {})
        | ({"auth_required": False} if route.public else {"permissions": [*route.permissions]})
        for route in ROUTES
    ]
    return yaml.safe_dump({"api_gateway": {"routes": routes}})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def advised(start_stack: StartStack) -> AsyncIterator[Stack]:
    """Run a stack with the advisories' table."""
    async with start_stack(Setup(routes=as_yaml())) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ports(
    advised: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[str, int]]:
    """Run an Envoy of each kind before its sidecar; their ports."""
    envoys = {}
    for name, (manager, ext_authz) in KINDS.items():
        envoys[name] = await envoy_before(
            advised, tmp_path_factory.mktemp(name), name, manager, ext_authz
        )
    yield {name: port_of(envoy) for name, envoy in envoys.items()}
    for envoy in envoys.values():
        await envoy.stop()


async def ask(client: ModuleType, port: int, case: Case, mark: str) -> int | None:
    """Send a case as it is; the status, None where the stream was reset."""
    headers = [("x-mark", mark), *((name, value.decode("latin-1")) for name, value in case.headers)]
    where = {"host": case.host} if client is http1 else {"authority": case.host}
    status: int | None = (await client.send(port, case.target, *headers, **where)).status
    return status


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("kind", KINDS)
async def test_no_published_case_reaches_what_is_protected(
    advised: Stack, ports: Mapping[str, int], kind: str, client: ModuleType
) -> None:
    """Denied, or where Envoy cleaned it first: public, however the upstream reads what arrived."""
    marks = [f"{kind}-{client.__name__}-{index}" for index in range(len(CASES))]
    statuses = await asyncio.gather(
        *(ask(client, ports[kind], case, mark) for case, mark in zip(CASES, marks, strict=True))
    )
    arrived = {
        mark: received.target
        for received in advised.basic_server.received
        for mark in received.values("x-mark")
    }
    wrong = []
    for case, mark, status in zip(CASES, marks, statuses, strict=True):
        if mark not in arrived and status not in (None, 400, 401, 403, 404):
            wrong.append(f"{case.advisory} {case.target!r}: {status}")
        if mark in arrived and not public(case.host, arrived[mark]):
            wrong.append(f"{case.advisory} {case.target!r} arrived as {arrived[mark]!r}")
    assert not wrong, "\n".join(wrong)


def public(host: str, target: str) -> bool:
    """Say whether every upstream takes a target for a public path."""
    for upstream in UPSTREAMS.values():
        try:
            segments = view(upstream, target.encode(errors="surrogateescape"))
        except RejectedError:
            continue
        route = TABLE.match(host, "GET", segments)
        if route not in ROUTES or not route.public:
            return False
    return True


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
async def test_the_same_envoys_let_ordinary_paths_pass(
    ports: Mapping[str, int], client: ModuleType
) -> None:
    """So that a denial above has a meaning; a single ``!`` could be a replaced byte."""
    for kind, port in ports.items():
        for target in LEGITIMATE:
            if b"!" in target and "cooked" in kind:
                continue
            case = Case("none", "", target, host=HOST)
            assert await ask(client, port, case, "ordinary") in (200, 401), target

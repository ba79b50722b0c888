"""No spelling of a protected path is public, whatever the Envoy in front and the upstream behind.

Envoys: ours, one that cleans nothing, and each without ``encode_raw_headers``. Upstreams: what
passed is read as each of the models in tests/core/upstreams.py would read it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio

from demo.stack import Stack
from tests.core.upstreams import UPSTREAMS, RejectedError, view
from tests.support import http1, http2
from tests.support.envoy_before import envoy_before, port_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

_CLEANS_NOTHING: Mapping[str, Any] = {
    "normalize_path": False,
    "merge_slashes": False,
    "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
    "common_http_protocol_options": {"headers_with_underscores_action": "ALLOW"},
}
_COOKED: Mapping[str, Any] = {"encode_raw_headers": False}
_KINDS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "hardened": ({}, {}),
    "hardened-cooked": ({}, _COOKED),
    "bare": (_CLEANS_NOTHING, {}),
    "bare-cooked": (_CLEANS_NOTHING, _COOKED),
}

# Without a token each of these may reach a public path or nothing, never /api/cluster.
TARGETS = (
    b"/api/cluster/nodes",
    b"/api/cluster/nodes/",
    b"/api/cluster/nodes?/api/auth/login",
    b"/api/cluster/nodes#/../../auth/login",  # CVE-2021-32779, CVE-2021-39156
    b"/api/auth/login#/../../cluster/nodes",
    b"/api/auth/../cluster/nodes",  # CVE-2019-9901
    b"/api/auth/./../cluster/nodes",
    b"/api/auth/x/../../cluster/nodes",
    b"/api/auth//../../cluster/nodes",
    b"//api/cluster/nodes",  # CVE-2021-31920
    b"/api//cluster/nodes",
    b"/api/auth/..//cluster/nodes",
    b"/./api/cluster/nodes",
    b"/api/auth/%2e%2e/cluster/nodes",
    b"/api/auth/%2E%2E/cluster/nodes",
    b"/api/auth/.%2e/cluster/nodes",
    b"/api/auth/..%2fcluster/nodes",  # CVE-2021-29492
    b"/api/auth/..%2Fcluster%2Fnodes",
    b"/api/auth%2f..%2fcluster/nodes",
    b"/api%2fcluster%2fnodes",
    b"/api/auth/..%5ccluster/nodes",
    b"/api/auth/..\\cluster\\nodes",
    b"/api\\cluster\\nodes",
    b"/api/auth/%252e%252e/cluster/nodes",
    b"/api/auth/%252e%252e%252fcluster/nodes",
    b"/api/auth/%25%32%65%25%32%65/cluster/nodes",
    b"/api/auth/..;/cluster/nodes",
    b"/api/auth/..;a=b/cluster/nodes",
    b"/api/auth;/../cluster/nodes",
    b"/api/auth/..%3b/cluster/nodes",
    b"/api/auth/login%00/../../cluster/nodes",
    b"/api/cluster/nodes%00/api/auth/login",
    b"/api/cluster%23/../auth/login",
    b"/api/cluster%3f/../auth/login",
    b"/api/cluster/nodes%3f/../../../auth/login",
    b"/%61pi/%63luster/nodes",
    b"/api/%63%6c%75%73%74%65%72/nodes",
    b"/api/auth/%c0%ae%c0%ae/cluster/nodes",
    b"/api/auth/%u002e%u002e/cluster/nodes",
    b"/api/auth/%/../../cluster/nodes",
    b"/api/auth/%zz/../../cluster/nodes",
    b"/api/auth/\xff/../../cluster/nodes",
    b"/api/auth/\xe8\xae\xa2/../../cluster/nodes",
    b"/api/auth/!/../../cluster/nodes",
    b"/API/CLUSTER/nodes",
    b"/api/auth/%0a/../../cluster/nodes",
    b"http://api.jobfirst.local/api/cluster/nodes",
    b"http://api.jobfirst.local/api/auth/../cluster/nodes",
    b"http:///api/cluster/nodes",
    b"api/cluster/nodes",
    b"*",
    b"?/api/auth/login",
)

# What must go on working.
PUBLIC = (
    b"/api/auth/login",
    b"/api/auth/%E8%AE%A2%E5%8D%95",
    b"/api/auth/login?next=//api/cluster/../nodes%2f;x",
    b"/api/auth/a.b/c-d_e~f:g@h$i&j'k(l)m*n+o,p=q",
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ports(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Run one Envoy of each kind before the session's sidecar; their ports."""
    directory: Path = tmp_path_factory.mktemp("envoys")
    envoys = {}
    for name, (manager, ext_authz) in _KINDS.items():
        envoys[name] = await envoy_before(stack, directory, name, manager, ext_authz)
    yield {name: port_of(envoy) for name, envoy in envoys.items()}
    for envoy in envoys.values():
        await envoy.stop()


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("kind", _KINDS)
async def test_a_protected_path_is_never_reached_without_a_token(
    stack: Stack, ports: Mapping[str, int], kind: str, client: ModuleType
) -> None:
    marks = [f"{kind}-{client.__name__}-{index}" for index in range(len(TARGETS))]
    answers = await asyncio.gather(
        *(
            client.send(ports[kind], target, ("x-mark", mark))
            for target, mark in zip(TARGETS, marks, strict=True)
        )
    )
    reached = {
        mark: received.target
        for received in stack.basic_server.received
        for mark in received.values("x-mark")
    }
    wrong = []
    for target, mark, answer in zip(TARGETS, marks, answers, strict=True):
        if answer.status not in (None, 200, 400, 401, 403, 404):
            wrong.append(f"{target!r} got {answer.status}")
        if (answer.status == 200) != (mark in reached):
            wrong.append(f"{target!r} got {answer.status} and reached {reached.get(mark)}")
        if mark in reached:
            wrong += _protected(reached[mark])
    assert not wrong, "\n".join(wrong)


def _protected(received: str) -> list[str]:
    """Name the upstreams that take this target for anything but a public path."""
    raw = received.encode(errors="surrogateescape")
    wrong = []
    for name, upstream in UPSTREAMS.items():
        try:
            segments = view(upstream, raw)
        except RejectedError:
            continue
        if segments[:2] != ("api", "auth"):
            wrong.append(f"{name} reads {raw!r} as {segments}")
    return wrong


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("kind", _KINDS)
async def test_ordinary_paths_in_any_language_pass_unchanged(
    ports: Mapping[str, int], kind: str, client: ModuleType
) -> None:
    for target in PUBLIC:
        answer = await client.send(ports[kind], target)
        assert answer.status == 200
        assert answer.json["path"].encode() == target


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
async def test_an_exclamation_mark_passes_where_envoy_tells_it_from_a_byte_that_it_replaced(
    ports: Mapping[str, int], client: ModuleType
) -> None:
    for kind in _KINDS:
        answer = await client.send(ports[kind], "/api/auth/welcome!")
        assert answer.status == (400 if "cooked" in kind else 200)


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("kind", ["bare", "bare-cooked"])
@pytest.mark.parametrize("name", ["x_user_id", "x-user_id", "x_user-role", "x_service_id"])
async def test_where_envoy_lets_underscores_pass_the_sidecar_removes_them(
    stack: Stack, ports: Mapping[str, int], kind: str, client: ModuleType, name: str
) -> None:
    token = ("authorization", f"Bearer {stack.zervi.token('alice')}")
    answer = await client.send(ports[kind], "/api/services/list", (name, "4"), token)
    assert answer.status == 200
    assert answer.arrived(name) == []
    assert answer.arrived("x-user-id") == ["2"]


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize(
    "name", ["x-envoy-original-path", "x-original-url", "x-rewrite-url", "x-forwarded-uri"]
)
async def test_a_path_in_a_header_decides_nothing(  # CVE-2023-27487
    stack: Stack, ports: Mapping[str, int], client: ModuleType, name: str
) -> None:
    before = len(stack.basic_server.received)
    answer = await client.send(ports["bare"], "/api/cluster/nodes", (name, "/api/auth/login"))
    assert answer.status == 401
    assert len(stack.basic_server.received) == before

"""A real Envoy's second lock: what ext_authz itself lets through by a fault does not pass.

Whatever is wrong with ext_authz, or with what answers it, every kind of request is refused with the
503 of an unavailable authorization, and nothing reaches the Basic Server.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import grpc
import pytest
import pytest_asyncio

from demo.basic_server import BasicServer
from demo.envoy import Bootstrap, Envoy, bootstrap, connection_manager, ext_authz_filter
from demo.stack import BOOTSTRAPS
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.e2e.conftest import forwarding_preflights
from tests.e2e.grpc_upstream import METHOD, GrpcUpstream
from tests.support import http1, http2
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

_PREFLIGHT = (("origin", "https://a.test"), ("access-control-request-method", "PUT"))
_SHORT = {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "0.2s"}


class Answerer:
    """An ext_authz server that gives one answer to every Check."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked = 0
        self.port = 0
        self._server = grpc.aio.server()

    async def start(self) -> None:
        """Listen on a free port."""
        handlers = {"Check": grpc.unary_unary_rpc_method_handler(self._check)}
        name = "envoy.service.auth.v3.Authorization"
        handler = grpc.method_handlers_generic_handler(name, handlers)
        self._server.add_generic_rpc_handlers((handler,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        """End every call."""
        await self._server.stop(grace=None)

    async def _check(self, _: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.asked += 1
        return self.answer


def allow(**metadata: str) -> bytes:
    """Return an allow with this dynamic metadata."""
    response = CheckResponse()
    response.status.code = 0
    response.ok_response.SetInParent()
    for name, value in metadata.items():
        response.dynamic_metadata.fields[name].string_value = value
    return response.SerializeToString()


def fails_open(loaded: Bootstrap) -> None:
    """Pass requests without a Check."""
    authz = {"failure_mode_allow": True, "grpc_service": _SHORT}
    ext_authz_filter(loaded).update(authz)
    (cluster,) = [c for c in loaded["static_resources"]["clusters"] if c["name"] == "authz"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["port_value"] = free_port()


def disabled_on_the_routes(loaded: Bootstrap) -> None:
    """Switch ext_authz off where requests are routed."""
    (host,) = connection_manager(loaded)["route_config"]["virtual_hosts"]
    host["typed_per_filter_config"]["envoy.filters.http.ext_authz"] = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "disabled": True,
    }


def disabled(loaded: Bootstrap) -> None:
    """Switch the filter off until a route enables it."""
    for http_filter in connection_manager(loaded)["http_filters"]:
        if http_filter["name"] == "envoy.filters.http.ext_authz":
            http_filter["disabled"] = True


def asked_about_none(loaded: Bootstrap) -> None:
    """Ask about no request in a hundred."""
    ext_authz_filter(loaded)["filter_enabled"] = {"default_value": {"numerator": 0}}


def removed(loaded: Bootstrap) -> None:
    """Take the filter out."""
    filters = connection_manager(loaded)["http_filters"]
    filters[:] = [each for each in filters if each["name"] != "envoy.filters.http.ext_authz"]


def forwards_preflights(loaded: Bootstrap) -> None:
    """Add the line that ``cors_preflight: forward`` needs."""
    connection_manager(loaded).update(forwarding_preflights())


def as_shipped(_: Bootstrap) -> None:
    """Change nothing."""


_SWITCHES = (fails_open, disabled_on_the_routes, disabled, asked_about_none, removed)
_REMEMBERS = "remembers, "  # before the name of a change of envoy-remember.yaml
_WITH_MEMORIES = "remembers, with what it may remember"

ENVOYS: Mapping[str, tuple[str, Callable[[Bootstrap], None]]] = {
    **{each.__name__: ("envoy.yaml", each) for each in (as_shipped, *_SWITCHES)},
    "forwards_preflights": ("envoy.yaml", forwards_preflights),
    **{
        _REMEMBERS + each.__name__: ("envoy-remember.yaml", each)
        for each in (as_shipped, *_SWITCHES)
    },
    _WITH_MEMORIES: ("envoy-remember.yaml", as_shipped),
}

# Each fault: the Envoy, and the answer to its Check.
FAULTS: Mapping[str, tuple[str, bytes]] = {
    **{
        before + each.__name__: (before + each.__name__, allow(reason="ok"))
        for each in _SWITCHES
        for before in ("", _REMEMBERS)
    },
    "remembers, an allow without a reason": ("remembers, as_shipped", allow(route="a")),
    "an empty answer to an Envoy that forwards preflights": ("forwards_preflights", b""),
    "an empty answer": ("as_shipped", b""),
    "an allow without a reason": ("as_shipped", allow(route="a", subject="7")),
    "an allow with an empty reason": ("as_shipped", allow(reason="")),
    "an allow with a denial's reason": ("as_shipped", allow(reason="token_missing")),
    "an allow with a longer reason": ("as_shipped", allow(reason="ok public")),
    "a preflight that was not to be forwarded": ("as_shipped", allow(reason="preflight")),
}


class World(NamedTuple):
    """Everything running."""

    envoys: Mapping[str, Envoy]
    answerer: Answerer
    basic_server: BasicServer
    grpc_upstream: GrpcUpstream

    def port(self, envoy: str) -> int:
        """Return the port of an Envoy's listener."""
        return int(self.envoys[envoy].url.rpartition(":")[2])

    def arrived(self) -> int:
        """Return how many requests reached an upstream."""
        return len(self.basic_server.received) + len(self.grpc_upstream.calls)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory: Path = tmp_path_factory.mktemp("locks")
    answerer, basic_server, grpc_upstream = Answerer(), BasicServer(), GrpcUpstream()
    port = free_port()
    await answerer.start()
    await basic_server.start(port)
    await grpc_upstream.start()
    envoys = {}
    for number, (name, (file, change)) in enumerate(ENVOYS.items()):
        loaded = bootstrap(
            BOOTSTRAPS / file,
            listener_port=free_port(),
            stats_port=free_port(),
            authz=f"127.0.0.1:{answerer.port}",
            upstream=port,
            upstream_grpc=grpc_upstream.port,
        )
        change(loaded)
        envoys[name] = await Envoy.start(loaded, directory, name=f"envoy-{number}")
    yield World(envoys, answerer, basic_server, grpc_upstream)
    for envoy in envoys.values():
        await envoy.stop()
    await grpc_upstream.stop()
    await basic_server.stop()
    await answerer.stop()


class Outcome(NamedTuple):
    """What a client saw: a status or a gRPC code, and the body if there was one."""

    status: object
    body: dict[str, Any] | None = None


async def _http(client: Any, port: int, *headers: tuple[str, str], method: str) -> Outcome:
    answer = await client.send(port, "/api/any", *headers, method=method)
    return Outcome(answer.status, answer.json if answer.body else None)


async def _grpc(port: int) -> Outcome:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        try:
            await call(b"hello", timeout=10)
        except grpc.aio.AioRpcError as error:
            return Outcome(error.code(), json.loads(error.details() or ""))
    return Outcome(grpc.StatusCode.OK)


async def _websocket(port: int) -> Outcome:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(f"http://127.0.0.1:{port}/api/live") as socket:
                await socket.receive_json(timeout=10)
        except aiohttp.WSServerHandshakeError as error:
            return Outcome(error.status)
    return Outcome(101)


async def outcomes(port: int) -> dict[str, Outcome]:
    """Send one request of each kind."""
    requests = {
        "HTTP/1.1": _http(http1, port, method="GET"),
        "HTTP/1.1 preflight": _http(http1, port, *_PREFLIGHT, method="OPTIONS"),
        "HTTP/2": _http(http2, port, method="GET"),
        "HTTP/2 preflight": _http(http2, port, *_PREFLIGHT, method="OPTIONS"),
        "gRPC": _grpc(port),
        "WebSocket": _websocket(port),
    }
    return dict(zip(requests, await asyncio.gather(*requests.values()), strict=True))


@pytest.mark.parametrize(
    ("envoy", "reason"),
    [
        *(("as_shipped", "ok"), ("as_shipped", "public")),
        *(("remembers, as_shipped", "ok"), ("remembers, as_shipped", "public")),
        *(("forwards_preflights", "ok"), ("forwards_preflights", "preflight")),
    ],
)
async def test_what_the_sidecar_allows_passes_both_locks(
    world: World, envoy: str, reason: str
) -> None:
    world.answerer.answer = allow(reason=reason)
    seen = await outcomes(world.port(envoy))
    assert seen.pop("gRPC").status is grpc.StatusCode.OK
    assert seen.pop("WebSocket").status == 101
    assert {outcome.status for outcome in seen.values()} == {200}


async def test_every_kind_of_request_passes_from_memory_as_it_passes_both_locks(
    world: World,
) -> None:
    """All but the two preflights, which are asked about each time.

    In the first round HTTP/2 may find what HTTP/1.1 was asked about: it is the same request.
    """
    response = CheckResponse.FromString(allow(reason="ok", route="any"))
    response.dynamic_metadata.fields["remember_ms"].number_value = 5000
    world.answerer.answer = response.SerializeToString()
    seen, asked = [], []
    for _ in range(2):
        before = world.answerer.asked
        seen.append(await outcomes(world.port(_WITH_MEMORIES)))
        asked.append(world.answerer.asked - before)
    assert seen[0]["gRPC"].status is grpc.StatusCode.OK
    assert {kind: each.status for kind, each in seen[0].items()} == {
        kind: each.status for kind, each in seen[1].items()
    }
    assert asked in ([6, 2], [5, 2])


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_fault_of_ext_authz_lets_through_stops_at_the_second_lock(
    world: World, fault: str
) -> None:
    envoy, world.answerer.answer = FAULTS[fault]
    before = world.arrived()
    seen = await outcomes(world.port(envoy))
    assert world.arrived() == before
    assert seen.pop("WebSocket") == Outcome(503)
    assert seen["gRPC"].status is grpc.StatusCode.UNAVAILABLE
    assert {outcome.status for kind, outcome in seen.items() if kind != "gRPC"} == {503}
    for outcome in seen.values():
        assert outcome.body is not None
        assert outcome.body.pop("decision_id")
        assert outcome.body == {
            "error": "authorization unavailable",
            "code": "AUTH_UNAVAILABLE",
            "message": "authorization does not answer at the moment; try again",
            "reason": "not_ready",
        }


async def test_the_access_log_tells_the_second_lock_from_a_sidecar_that_is_away(
    world: World,
) -> None:
    world.answerer.answer = b""
    envoy = world.envoys["as_shipped"]
    answer = await http1.send(world.port("as_shipped"), "/api/told-apart")

    def logged() -> list[dict[str, Any]]:
        whole, _, _ = envoy.process.stdout.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["path"] == "/api/told-apart"]

    await eventually(logged, "a line of the request")
    (line,) = logged()
    assert line["request_id"] == answer.json["decision_id"]
    assert line["status"] == 503
    assert line["details"] == "rbac_access_denied_matched_policy[none]"
    assert "http.ingress.rbac.denied" in await envoy.admin("/stats?usedonly")


async def test_a_large_body_is_not_reported_as_large_headers(world: World) -> None:
    """Else its client would not try again."""
    world.answerer.answer = b""
    body = b"x" * 1024 * 1024
    answer = await http1.send(world.port("as_shipped"), "/api/any", method="POST", body=body)
    assert (answer.status, answer.json["reason"]) == (503, "not_ready")


async def test_another_403_of_envoys_own_is_not_reported_as_the_second_lock(world: World) -> None:
    """An upgrade that is not configured is refused before the sidecar is asked."""
    headers = (b"Connection: Upgrade, close", b"Upgrade: made-up")
    answer = await http1.send(world.port("as_shipped"), "/api/any", *headers)
    assert (answer.status, answer.json["code"]) == (403, "BAD_REQUEST")

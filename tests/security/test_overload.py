"""More Checks than can be done, and clients that hold on without asking, on every transport."""

import asyncio
import gc
import sys
import time
from collections import Counter
from typing import Any

import grpc
import pytest

from sidecar.core.decision import DecisionRecord, decide
from sidecar.extauthz import service as service_module
from sidecar.extauthz.service import CHECK, CheckService
from sidecar.ops.readiness import Health, State
from sidecar.pb.ext_authz_pb2 import CheckResponse
from sidecar.transport.grpcio import Server as GrpcioServer
from sidecar.transport.h2 import Server as H2Server
from sidecar.transport.health import health_methods
from sidecar.transport.interface import Methods
from tests.edge.transport_rig import NewServer, call, connect, serving, talking
from tests.support.checks import check_request, reason_of, service
from tests.support.policies import live_bearer, snapshot

WORK_SECONDS = 0.002  # that each decision takes here: at most 500 a second
BURST = 600
PATIENCE_SECONDS = 0.4  # of the caller: enough for a third of the burst
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
ASK = check_request(headers=live_bearer(permissions=["closed:read"]))

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes(3) + b"\x04" + bytes(5)


@pytest.fixture(params=[GrpcioServer, H2Server], ids=["grpcio", "h2"])
def new_server(request: pytest.FixtureRequest) -> NewServer:
    server: NewServer = request.param
    return server


def served(checks: CheckService) -> Methods:
    """Serve Checks and a health that is ready."""
    health = Health(["zervi"], looma=False)
    for component in health.components:
        health.set(component, State.READY, "")
    mine, theirs = checks.methods(), health_methods(health)
    return mine._replace(unary={**mine.unary, **theirs.unary}, streams=theirs.streams)


async def ask(channel: grpc.aio.Channel, within: float = 10.0) -> str:
    """Return the reason in the answer, or the status where none came in time."""
    try:
        return reason_of(CheckResponse.FromString(await call(channel, CHECK, ASK, within)))
    except grpc.aio.AioRpcError as error:
        return error.code().name


async def test_more_checks_than_can_be_done(
    new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is late is dropped and counted, nothing is let through, and then all is as before."""
    decided = Counter[str]()

    def slow(*given: Any) -> Any:
        end = time.perf_counter() + WORK_SECONDS
        while time.perf_counter() < end:
            pass
        decided["all"] += 1
        return decide(*given)

    monkeypatch.setattr(service_module, "decide", slow)
    records: list[DecisionRecord] = []
    checks = service(snapshot(), records=records)
    async with talking(new_server, served(checks)) as channel:
        assert await ask(channel) == "ok"
        answers = Counter(
            await asyncio.gather(*(ask(channel, PATIENCE_SECONDS) for _ in range(BURST)))
        )
        assert await call(channel, HEALTH) == SERVING
        assert await ask(channel) == "ok"
        assert await ask(channel, PATIENCE_SECONDS) == "ok"
    assert set(answers) <= {"ok", "overloaded", "DEADLINE_EXCEEDED"}
    assert answers["ok"] < BURST
    # grpcio drops by itself what its caller has given up; the service counts what it drops.
    assert decided["all"] < BURST
    reasons = Counter(record.decision.reason.value for record in records)
    assert set(reasons) <= {"ok", "overloaded"}
    assert reasons["overloaded"] or new_server is GrpcioServer
    assert checks.cached_tokens == 1


async def test_a_burst_leaves_no_memory_behind(new_server: NewServer) -> None:
    """Five bursts hold no more than the first."""
    records: list[DecisionRecord] = []
    async with talking(new_server, served(service(snapshot(), records=records))) as channel:
        blocks = 0
        for _ in range(5):
            assert set(await asyncio.gather(*(ask(channel) for _ in range(BURST)))) == {"ok"}
            records.clear()
            gc.collect()
            blocks = blocks or sys.getallocatedblocks()
        assert sys.getallocatedblocks() - blocks < BURST


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        PREFACE[:10],
        PREFACE,
        PREFACE + SETTINGS,
        PREFACE + SETTINGS + b"\x00\x40\x00\x01\x04\x00\x00\x00\x01" + b"\x82\x84",
        PREFACE + SETTINGS + b"\x00\x00\x03\x01\x00\x00\x00\x00\x01" + b"\x82\x84\x86",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
    ids=[
        "nothing",
        "half-preface",
        "preface",
        "settings",
        "half-frame",
        "half-block",
        "HTTP/1.1",
        "TLS",
    ],
)
async def test_half_open_clients_hold_nothing_up(new_server: NewServer, begun: bytes) -> None:
    """A hundred that begin and send nothing more; other clients get answers meanwhile."""
    async with serving(new_server, served(service(snapshot()))) as address:
        host, _, port = address.rpartition(":")
        clients = [await asyncio.open_connection(host, int(port)) for _ in range(100)]
        for _, writer in clients:
            writer.write(begun)
        async with connect(address) as channel:
            assert [await ask(channel) for _ in range(20)] == ["ok"] * 20
        for _, writer in clients:
            writer.close()

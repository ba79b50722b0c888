"""Probing the upstream over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sidecar.net.http_client import HttpClient
from sidecar.upstream.http_probe import probe_http
from sidecar.upstream.probe import Prober, ProbeSettings
from sidecar.upstream.state import UpstreamState
from tests.edge.looma_rig import server
from tests.support.ports import free_port
from tests.support.waiting import eventually

HEALTHY, WARNING = UpstreamState.HEALTHY, UpstreamState.WARNING
CRITICAL = UpstreamState.CRITICAL
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@contextlib.asynccontextmanager
async def probing(url: str, cut_off: float = 5.0) -> AsyncIterator[list[UpstreamState]]:
    """Probe every 10 ms; yield the states as they follow each other."""
    states: list[UpstreamState] = []
    prober = Prober(ProbeSettings(url, 0.01, cut_off), states.append, Random(7))
    assert prober.state is UpstreamState.UNKNOWN
    prober.start()
    try:
        yield states
    finally:
        await prober.close()


def http(status: str, rest: bytes = b"Content-Length: 0\r\n\r\n") -> bytes:
    return f"HTTP/1.1 {status}\r\n".encode() + rest


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK"),
        http("204 No Content", b"\r\n"),
        http("200 OK", b"Content-Type: application/json\r\n\r\n{" + b'"status": false}'),
        http("200 OK", b"Content-Length: 104857600\r\n\r\n" + bytes(4096)),
    ],
)
async def test_a_status_of_2xx_is_healthy_whatever_the_body(answer: bytes) -> None:
    async with server(answer) as upstream, probing(f"http://127.0.0.1:{upstream.port}/h") as states:
        await eventually(lambda: upstream.accepted >= 4, "four probes")
        assert states == [HEALTHY]
    assert upstream.received[0].startswith(b"GET /h HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        http("503 Service Unavailable"),
        http("404 Not Found"),
        http("302 Found", b"Location: /login\r\nContent-Length: 0\r\n\r\n"),
        b"220 smtp.example.org ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_anything_else_is_a_failure(answer: bytes) -> None:
    async with server(answer) as upstream, probing(f"http://127.0.0.1:{upstream.port}") as states:
        await eventually(lambda: CRITICAL in states, "three failures")
        assert states == [WARNING, CRITICAL]


async def test_a_probe_is_one_request() -> None:
    async with server(b"") as upstream:
        problem = await probe_http(HttpClient(), f"http://127.0.0.1:{upstream.port}/health")
        assert problem == "the connection was closed without an answer"
        assert upstream.accepted == 1


@pytest.mark.parametrize("scheme", ["http", "tcp", "grpc"])
async def test_an_upstream_that_is_not_there_is_critical_and_comes_back(scheme: str) -> None:
    port = free_port()
    async with probing(f"{scheme}://127.0.0.1:{port}") as states:
        await eventually(lambda: CRITICAL in states, "three refused connections")
        assert states == [WARNING, CRITICAL]
        async with _serving(scheme, port):
            await eventually(lambda: HEALTHY in states, "it comes back")
    assert states[:3] == [WARNING, CRITICAL, HEALTHY]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_a_probe_that_hangs_is_cut_off_before_the_next_one_begins(scheme: str) -> None:
    async with server(None) as upstream:
        async with probing(f"{scheme}://127.0.0.1:{upstream.port}", 0.03) as states:
            await eventually(lambda: upstream.accepted >= 5, "the prober goes on")
            assert states == [WARNING, CRITICAL]
        assert upstream.most_open == 1


async def test_grpc_health_is_asked_for_the_service_that_the_url_names() -> None:
    async with _grpc_server(0) as (port, servicer):
        servicer.set("orders.Orders", NOT_SERVING)
        async with (
            probing(f"grpc://127.0.0.1:{port}") as whole,
            probing(f"grpc://127.0.0.1:{port}/orders.Orders") as orders,
            probing(f"grpc://127.0.0.1:{port}/unknown.Service") as unknown,
        ):
            await eventually(
                lambda: CRITICAL in orders and CRITICAL in unknown, "both are critical"
            )
            assert whole == [HEALTHY]
            servicer.set("orders.Orders", SERVING)
            await eventually(lambda: orders[-1] is HEALTHY, "it serves")
            assert unknown[-1] is CRITICAL


def frame(kind: int, flags: int, stream: int, payload: str) -> bytes:
    content = bytes.fromhex(payload)
    return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content


DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8


@pytest.mark.parametrize(
    ("frames", "state"),
    [
        pytest.param([frame(DATA, 0, 1, "00 00000002 0801")], HEALTHY, id="serving"),
        pytest.param(
            [frame(DATA, 0, 1, "00 0000"), frame(DATA, 0, 1, "0002 08"), frame(DATA, 1, 1, "01")],
            HEALTHY,
            id="in pieces",
        ),
        pytest.param([frame(DATA, PADDED, 1, "02 00 00000002 0801 0000")], HEALTHY, id="padded"),
        pytest.param(
            [
                frame(HEADERS, 0, 1, "88"),
                frame(CONTINUATION, END_HEADERS, 1, "88"),
                frame(DATA, 0, 1, "00 00000002 0801"),
            ],
            HEALTHY,
            id="after headers",
        ),
        pytest.param([frame(DATA, 0, 3, "00 00000002 0801")], WARNING, id="another stream"),
        pytest.param([frame(DATA, 0, 1, "00 00000002 0802")], WARNING, id="not serving"),
        pytest.param([frame(DATA, 0, 1, "00 00000000")], WARNING, id="unknown"),
        pytest.param([frame(DATA, 0, 1, "01 00000002 0801")], WARNING, id="compressed"),
        pytest.param([frame(DATA, 0, 1, "00 00000002 1001")], WARNING, id="another message"),
        pytest.param([frame(DATA, 0, 1, "00 00000002 0863")], WARNING, id="no such status"),
        pytest.param([frame(DATA, PADDED, 1, "ff")], WARNING, id="padding that is not there"),
        pytest.param([frame(DATA, PADDED, 1, "")], WARNING, id="padding without its length"),
        pytest.param([frame(HEADERS, END_STREAM, 1, "88")], WARNING, id="only trailers"),
        pytest.param([frame(RST_STREAM, 0, 1, "00000000")], WARNING, id="reset"),
        pytest.param([frame(GOAWAY, 0, 0, "00000000 00000000")], WARNING, id="goaway"),
        pytest.param([b"\xff\xff\xff\0\0\0\0\0\1"], WARNING, id="a frame of 16 MB"),
        pytest.param([frame(11, 0, 0, "")] * 200, WARNING, id="frames without end"),
        pytest.param([b"HTTP/1.1 400 Bad Request\r\n\r\n"], WARNING, id="HTTP/1.1"),
    ],
)
async def test_a_grpc_answer_is_read_frame_by_frame(
    frames: list[bytes], state: UpstreamState
) -> None:
    answer = b"".join([frame(SETTINGS, 0, 0, ""), *frames])
    async with server(answer) as upstream, probing(f"grpc://127.0.0.1:{upstream.port}") as states:
        await eventually(lambda: states, "one probe")
        assert states[0] is state


@pytest.mark.parametrize("url", ["", "ftp://h/", "tcp://h", "grpc://:50051", "http:///x", "h:80"])
async def test_a_url_of_no_known_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the URL of a probe must be"):
        Prober(ProbeSettings(url), lambda state: None, Random(7))


async def test_a_name_that_is_too_long_for_the_call_is_a_failure() -> None:
    async with probing(f"grpc://127.0.0.1:{free_port()}/{'s' * 127}") as states:
        await eventually(lambda: states, "one probe")
        assert states[0] is WARNING


@contextlib.asynccontextmanager
async def _serving(scheme: str, port: int) -> AsyncIterator[None]:
    if scheme == "grpc":
        async with _grpc_server(port):
            yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http("200 OK"))
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def _grpc_server(port: int) -> AsyncIterator[tuple[int, health.HealthServicer]]:
    grpc_server = grpc.server(ThreadPoolExecutor(max_workers=2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, grpc_server)
    bound = grpc_server.add_insecure_port(f"127.0.0.1:{port}")
    grpc_server.start()
    try:
        yield bound, servicer
    finally:
        await asyncio.to_thread(grpc_server.stop(0).wait)

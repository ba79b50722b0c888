"""The ops address over real sockets, with well-behaved clients and others."""

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.ops import server as ops_server
from sidecar.ops.metrics import Metrics
from sidecar.ops.readiness import Health, State
from sidecar.ops.routes import OpsAnswer, Route, ops_routes
from sidecar.ops.server import MAX_CONNECTIONS, OpsServer
from tests.support.waiting import eventually

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjo3fQ.c2lnbmF0dXJl"


class Ops(NamedTuple):
    """A server that runs, and what it tells of."""

    address: tuple[str, int]
    health: Health
    metrics: Metrics
    server: OpsServer

    def url(self, path: str) -> str:
        host, port = self.address
        return f"http://{host}:{port}{path}"


@contextlib.asynccontextmanager
async def serving(more: Mapping[tuple[str, str], Route] | None = None) -> AsyncIterator[Ops]:
    """Serve on a port of its own within the block."""
    health, metrics = Health(["zervi"]), Metrics("1.0")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = OpsServer([sock], {**ops_routes(health, metrics), **(more or {})})
        await server.start()
        try:
            yield Ops(sock.getsockname(), health, metrics, server)
        finally:
            await server.close()


async def talk(ops: Ops, request: bytes) -> bytes:
    """Send bytes as they are; read until the server closes."""
    reader, writer = await asyncio.open_connection(*ops.address)
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            answer = await reader.read()
    writer.close()
    return answer


async def test_livez_answers_while_nothing_else_works() -> None:
    async with serving() as ops, aiohttp.ClientSession() as client:
        async with client.get(ops.url("/livez")) as answer:
            assert (answer.status, await answer.json()) == (200, {"live": True})
        ops.health.drain("SIGTERM")
        async with client.get(ops.url("/livez")) as answer:
            assert answer.status == 200


async def test_readyz_tells_each_component_with_since_and_detail() -> None:
    async with serving() as ops, aiohttp.ClientSession() as client:
        async with client.get(ops.url("/readyz")) as answer:
            assert answer.status == 503
            assert (await answer.json())["detail"] == "no policy is loaded yet"
        ops.health.set("policy", State.READY, "3 routes")
        ops.health.set("issuer:zervi", State.DEGRADED, f"refused {TOKEN}")
        async with client.get(ops.url("/readyz")) as answer:
            assert answer.status == 200
            body = await answer.json()
        assert body["ready"] is True
        assert body["state"] == "degraded"
        assert body["components"]["policy"]["state"] == "ready"
        assert body["components"]["policy"]["detail"] == "3 routes"
        assert body["components"]["policy"]["since"].endswith("Z")
        assert body["components"]["issuer:zervi"]["detail"] == "refused [redacted]"
        ops.health.drain("SIGTERM")
        async with client.get(ops.url("/readyz")) as answer:
            assert (answer.status, (await answer.json())["detail"]) == (503, "SIGTERM")


async def test_metrics_are_what_prometheus_reads() -> None:
    async with serving() as ops, aiohttp.ClientSession() as client:
        ops.metrics.policy_loaded("sha256:1", 1.0)
        for accept in ("*/*", "application/openmetrics-text;version=;q=x", "text/plain;version=9"):
            async with client.get(ops.url("/metrics"), headers={"Accept": accept}) as answer:
                assert answer.status == 200
                assert answer.content_type == "text/plain"
                names = {
                    family.name for family in text_string_to_metric_families(await answer.text())
                }
        assert {"zervi_sidecar_policy_info", "process_resident_memory_bytes"} <= names


async def test_scrapers_that_come_at_once_share_one_rendering() -> None:
    rendered = 0

    def entries() -> int:
        nonlocal rendered
        rendered += 1
        return 0

    routes = ops_routes(Health(["zervi"]), Metrics("1.0", token_cache_entries=entries))
    answers = await asyncio.gather(*(routes["GET", "/metrics"]() for _ in range(20)))
    assert rendered == 1
    assert {answer.status for answer in answers} == {200}
    await routes["GET", "/metrics"]()
    assert rendered == 2


async def test_a_scraper_that_leaves_takes_nobody_elses_answer() -> None:
    scrape = ops_routes(Health(["zervi"]), Metrics("1.0"))["GET", "/metrics"]
    leaving = asyncio.ensure_future(scrape())
    staying = asyncio.ensure_future(scrape())
    await asyncio.wait({leaving}, timeout=0)
    leaving.cancel()
    assert (await staying).status == 200


async def test_a_method_that_a_path_does_not_take_is_told_which_it_takes() -> None:
    async def act() -> OpsAnswer:
        return OpsAnswer(202, b"", "text/plain")

    async with serving({("POST", "/act"): act}) as ops, aiohttp.ClientSession() as client:
        async with client.post(ops.url("/act"), data=b"ignored") as answer:
            assert answer.status == 202
        async with client.get(ops.url("/act")) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_route_that_fails_is_logged_and_the_client_learns_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> OpsAnswer:
        raise ValueError("what only we may know")

    with caplog.at_level(logging.ERROR):
        async with serving({("GET", "/fail"): fail}) as ops, aiohttp.ClientSession() as client:
            async with client.get(ops.url("/fail")) as answer:
                assert (answer.status, await answer.json()) == (500, {"error": "internal error"})
            async with client.get(ops.url("/livez")) as answer:
                assert answer.status == 200
    assert [record.getMessage() for record in caplog.records] == ["GET /fail failed"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/livez", 200),
        ("GET", "/livez?verbose=1", 200),
        ("GET", "/", 404),
        ("GET", "/livez/", 404),
        ("POST", "/livez", 405),
        ("OPTIONS", "/metrics", 405),
        ("DELETE", "/nothing", 404),
    ],
)
async def test_other_methods_and_paths_are_refused(method: str, path: str, status: int) -> None:
    async with serving() as ops, aiohttp.request(method, ops.url(path)) as answer:
        assert answer.status == status
        assert answer.headers.get("Allow") == ("GET, HEAD" if status == 405 else None)
        assert "Server" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x, chunked, y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /" + TOKEN.encode() + b" HTTP/1.1\r\nbad header " + TOKEN.encode() + b"\r\n\r\n",
        b"\r\n\r\n\r\n\x00\x00",
    ],
)
async def test_what_is_no_request_is_refused_without_a_word_of_it(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving() as ops:
            answer = await talk(ops, request_bytes + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            good = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            assert (await talk(ops, good)).startswith(b"HTTP/1.1 200 ")
    assert answer.startswith((b"HTTP/1.0 400 Bad Request\r\n", b"HTTP/1.1 400 Bad Request\r\n"))
    assert answer.endswith(b'\r\n\r\n{"error":"bad request"}\n')
    assert b"Server:" not in answer
    assert caplog.records == []


async def test_a_body_is_never_waited_for() -> None:
    async with serving() as ops:
        answer = await talk(
            ops, b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nx"
        )
    assert answer.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nX: "])
async def test_a_client_that_does_not_finish_its_request_is_sent_away(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops_server, "IDLE_SECONDS", 0.05)
    async with serving() as ops:
        assert await talk(ops, begun) == b""


@pytest.mark.usefixtures("both_loops")
async def test_when_all_connections_are_taken_the_longest_idle_goes_for_the_next() -> None:
    async with serving() as ops:
        held = [await asyncio.open_connection(*ops.address) for _ in range(MAX_CONNECTIONS)]
        request = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
        for reader, writer in (*held, held[0]):  # the first asks again
            writer.write(request)
            await answered(reader)
        closing = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert (await talk(ops, closing)).startswith(b"HTTP/1.1 200 ")
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                assert await held[1][0].read() == b""
        for reader, writer in (held[0], held[-1]):
            writer.write(request)
            await answered(reader)
        for _, writer in held:
            writer.close()


@pytest.mark.usefixtures("both_loops")
async def test_any_number_of_silent_clients_that_come_at_once_keep_no_probe_out() -> None:
    async with serving() as ops:
        silent = await asyncio.gather(
            *(asyncio.open_connection(*ops.address) for _ in range(3 * MAX_CONNECTIONS))
        )
        closing = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert (await talk(ops, closing)).startswith(b"HTTP/1.1 200 ")
        assert len(ops.server.connections) <= MAX_CONNECTIONS
        for _, writer in silent:
            writer.close()


@pytest.mark.usefixtures("both_loops")
async def test_any_number_of_clients_that_do_not_read_keep_no_probe_out() -> None:
    """They have asked for more than the buffers of their connections take."""

    async def large() -> OpsAnswer:
        return OpsAnswer(200, b"x" * 3_000_000, "text/plain")

    async with serving({("GET", "/large"): large}) as ops:
        with contextlib.ExitStack() as deaf:
            for _ in range(MAX_CONNECTIONS):
                sock = deaf.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect(ops.address)
                sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            busy = ops.server.connections
            await eventually(
                lambda: len(busy) == MAX_CONNECTIONS and all(each.answering for each in busy),
                "each is sent its answer",
            )
            closing = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            for _ in range(3):
                assert (await talk(ops, closing)).startswith(b"HTTP/1.1 200 ")


async def answered(reader: asyncio.StreamReader) -> None:
    """Read an answer of 200 to its end."""
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(b"}\n")


async def test_a_request_that_runs_is_answered_before_the_server_ends() -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    async def wait() -> OpsAnswer:
        started.set()
        await gate.wait()
        return OpsAnswer(200, b"late", "text/plain")

    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = OpsServer([sock], {("GET", "/wait"): wait})
        await server.start()
        ops = Ops(sock.getsockname(), Health(["zervi"]), Metrics("1.0"), server)
        request = b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
        waiting = asyncio.ensure_future(talk(ops, request))
        await started.wait()
        closing = asyncio.ensure_future(server.close(10))
        gate.set()
        await closing
        assert (await waiting).endswith(b"late")


async def test_closing_ends_idle_connections_and_may_be_repeated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = OpsServer([sock], {})
        await server.start()
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\n")).startswith(b"HTTP/1.1 404 ")
        await server.close()
        await server.close()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()


async def test_requests_that_arrive_together_are_answered_in_order() -> None:
    requests = (
        b"HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n"
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        b"GET /livez HTTP/1.0\r\n\r\n"
        b"GET /never HTTP/1.0\r\n\r\n"
    )
    async with serving() as ops:
        first, second, third = (await talk(ops, requests)).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 OK\r\n")
    assert b"Content-Length: 14\r\n" in first
    assert first.endswith(b"\r\n\r\n")
    assert second.startswith(b"404 ")
    assert third.endswith(b'\r\n\r\n{"live":true}\n')


async def test_a_request_that_drips_in_has_no_more_time_than_one_that_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ops_server, "IDLE_SECONDS", 0.1)
    async with serving() as ops, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*ops.address)
        ended = asyncio.ensure_future(reader.read())
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET /livez HTTP/1.1\r\nX: ")
            while not ended.done():
                writer.write(b"y")
                await asyncio.wait([ended], timeout=0.02)
            assert await ended == b""
        writer.close()


@pytest.mark.usefixtures("both_loops")
async def test_a_client_that_does_not_read_its_answer_is_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ops_server, "IDLE_SECONDS", 0.1)

    async def huge() -> OpsAnswer:
        return OpsAnswer(200, bytes(64 * 1024 * 1024))  # more than sockets buffer

    async with serving({("GET", "/huge"): huge}) as ops:
        reader, writer = await asyncio.open_connection(*ops.address, limit=1024)
        writer.write(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: len(ops.server.connections) == 1, "the connection")
        await eventually(lambda: not ops.server.connections, "the end of the connection")
        writer.transport.abort()
        del reader


def test_prometheus_client_is_not_imported_before_somebody_scrapes() -> None:
    code = (
        "import sys, sidecar.ops.metrics, sidecar.ops.server;"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)

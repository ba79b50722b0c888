"""A node with everything that its reporter tells, for tests of the Looma room."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random
from typing import Any

from sidecar.looma.answers import Answer, Caller
from sidecar.looma.http import HttpRegistry, Paths
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.identity import Service
from sidecar.looma.registry import Failed, Registry
from sidecar.looma.report import NodeMetrics, NodeState, Report
from sidecar.looma.reporter import Events, Reporter, ReporterSettings
from sidecar.upstream.state import UpstreamState
from tests.support.waiting import eventually

SERVICE = Service(
    id="basic-server-pod-7-10000",
    name="basic-server",
    type="basic-server",
    address="10.1.2.3",
    port=10000,
    node="node-a",
    cluster="jobfirst-cluster-1",
    version="1.0",
    environment="test",
)
STATE = NodeState(
    policy_digest="sha256:aa",
    policy_generation=1,
    key_set_age=12.34,
    ready=True,
    metrics=NodeMetrics(checks=7, denials=2, p99_seconds=0.000123),
)
REPORT = Report(SERVICE, "0.1.0", STATE, UpstreamState.HEALTHY, 1_800_000_000.5)
BEAT = 0.02  # seconds: a test sees many heartbeats


class Node:
    """What a reporter is given, and what it told."""

    def __init__(self) -> None:
        self.state = STATE
        self.now = 1_800_000_000.0
        self.requests: list[tuple[str, str]] = []
        self.registered: list[bool] = []

    def reporter(
        self,
        registry: Registry,
        *,
        heartbeat: float = BEAT,
        metrics: bool = False,
    ) -> Reporter:
        return Reporter(
            ReporterSettings(SERVICE, "0.1.0", heartbeat, metrics),
            registry,
            lambda: self.state,
            Events(lambda *told: self.requests.append(told), self.registered.append),
            random=Random(7),
            clock=lambda: self.now,
        )


def http_registry(url: str, call: Caller) -> HttpRegistry:
    return HttpRegistry(url, Paths(), SERVICE.id, call)


@contextlib.asynccontextmanager
async def http_caller() -> AsyncIterator[HttpCaller]:
    yield HttpCaller()


@contextlib.asynccontextmanager
async def running(reporter: Reporter) -> AsyncIterator[Reporter]:
    reporter.start()
    try:
        yield reporter
    finally:
        await reporter.close()


class ScriptedCalls:
    """A caller without a socket: the answers in turn, the last one again and again."""

    def __init__(self, answers: Sequence[Answer | Failed]) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[str, str, Any, Mapping[str, str]]] = []

    async def __call__(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Failed:
        self.seen.append((method, url, body, headers or {}))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Server:
    """A TCP server that does one thing with each connection; counts how many are open."""

    def __init__(self, answer: bytes | None) -> None:
        """``answer`` is written once something came; None accepts and says nothing, ever."""
        self.answer = answer
        self.accepted = 0
        self.open = 0
        self.most_open = 0
        self.received: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with contextlib.suppress(ConnectionError):
                self.received.append(await reader.read(65536))
                if self.answer is not None:
                    writer.write(self.answer)
                    await writer.drain()
                else:
                    await reader.read()
        finally:
            self.open -= 1
            writer.transport.abort()


@contextlib.asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[Server]:
    running_server = Server(answer)
    listener = await asyncio.start_server(running_server.serve, "127.0.0.1", 0)
    running_server.port = listener.sockets[0].getsockname()[1]
    try:
        yield running_server
    finally:
        listener.close()
        await eventually(lambda: not running_server.open, "every connection is closed")

"""One sidecar and one Envoy with two listeners: one asks about every request, one remembers."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.basic_server import BasicServer
from demo.envoy import Envoy, bootstrap
from sidecar.app import wiring
from sidecar.config import load
from sidecar.core.decision import DecisionRecord
from sidecar.extauthz.respond import Responder
from sidecar.extauthz.service import CheckService
from sidecar.transport.h2.server import Server
from sidecar.transport.interface import Listener
from sidecar.workbench.generate.envoy import Choices
from sidecar.workbench.generate.envoy import bootstrap as generated
from tests.support.checks import NoKeys
from tests.support.http1 import Answer
from tests.support.http1 import send as exchange
from tests.support.ports import free_port

REMEMBER_MS = 5000


@dataclass(frozen=True)
class Seen:
    """What a client and the Basic Server saw of a request, without what differs each time."""

    status: int
    body: object
    upstream: tuple[str, str, tuple[tuple[str, str], ...]] | None


class Pair:
    """Sends requests to either listener."""

    def __init__(self, asks: int, remembers: int, records: list[DecisionRecord]) -> None:
        self.asks = asks
        self.remembers = remembers
        self.records = records

    async def send(
        self, port: int, method: str, target: bytes, host: str, headers: tuple[bytes, ...]
    ) -> Seen:
        """Send one request."""
        return _seen(await exchange(port, target, *headers, method=method, host=host))


def _seen(answer: Answer) -> Seen:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return Seen(answer.status, answer.body, None)
    if answer.status == 200 and "headers" in body:
        headers = sorted((n, v) for n, v in body["headers"] if n != "x-request-id")
        return Seen(200, None, (body["method"], body["path"], tuple(headers)))
    body.pop("decision_id", None)
    return Seen(answer.status, body, None)


@asynccontextmanager
async def pair(
    directory: Path, settings: Mapping[str, Any], routes: Mapping[str, Any], *, secret: str
) -> AsyncIterator[Pair]:
    """Run both by a configuration, whose ``policy.file`` is `routes.yaml`."""
    (directory / "routes.yaml").write_text(json.dumps(routes))
    file = directory / "sidecar.yaml"
    file.write_text(json.dumps(settings))
    config = load(file, {"ZERVI_JWT_SECRET": secret})
    records: list[DecisionRecord] = []
    loop = asyncio.get_running_loop()
    checks = CheckService(
        wiring.snapshot(config),
        Responder(wiring.answers(config)),
        NoKeys(),
        records.extend,
        loop.call_soon,
        wiring.service(config),
    )
    server = Server(Listener("127.0.0.1:0"), checks.methods())
    upstream, port = BasicServer(), free_port()
    await upstream.start(port)
    authz = await server.start()
    try:
        ports = (free_port(), free_port())
        loaded = [
            _loaded(directory, generated(config, Choices("", remember=remember)), own, authz, port)
            for remember, own in zip((0, REMEMBER_MS), ports, strict=True)
        ]
        whole, other = loaded
        (ingress,) = [
            each for each in other["static_resources"]["listeners"] if each["name"] == "ingress"
        ]
        whole["static_resources"]["listeners"].append({**ingress, "name": "remembers"})
        envoy = await Envoy.start(whole, directory)
        try:
            yield Pair(*ports, records)
        finally:
            await envoy.stop()
    finally:
        await upstream.stop()
        await server.drain(0)


def _loaded(directory: Path, text: str, own: int, authz: str, upstream: int) -> dict[str, Any]:
    file = directory / "envoy.yaml"
    file.write_text(text)
    return bootstrap(
        file,
        listener_port=own,
        stats_port=free_port(),
        authz=authz,
        upstream=upstream,
        upstream_grpc=upstream,
    )

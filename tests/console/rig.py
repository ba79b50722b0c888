"""A console in this process, with the demo's Looma and Zervi behind it."""

import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from demo.looma import Looma, start_looma
from demo.zervi import Zervi, start_zervi
from sidecar.console.application import Parts, application, parts
from sidecar.console.settings import load
from sidecar.ops.writer import LineWriter

ORIGIN = "https://console.example"
BOB = {"x-user-id": "3", "x-username": "bob", "x-user-role": "admin"}
SECRET = b"0123456789abcdef0123456789abcdef"


class Lines(LineWriter):
    """Keeps audit lines."""

    def __init__(self) -> None:
        super().__init__(os.open(os.devnull, os.O_WRONLY))
        self.lines: list[dict[str, Any]] = []

    def put(self, lines: bytes, count: int = 1) -> bool:
        self.lines.append(json.loads(lines))
        return True


@dataclass
class Console:
    """A running console; ``client`` sends the headers of bob, as the sidecar would set them."""

    url: str
    client: aiohttp.ClientSession
    app: web.Application
    parts: Parts
    audit: list[dict[str, Any]]

    def parts_routes(self) -> list[tuple[str, str]]:
        """Return the method and the path of every route."""
        return [
            (route.method, route.resource.canonical)
            for route in self.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        ]

    @asynccontextmanager
    async def anonymous(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Return a client that did not come through the sidecar."""
        async with aiohttp.ClientSession() as client:
            yield client

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Return the status, and the JSON or text of an answer."""
        async with self.client.get(self.url + path, headers=headers) as response:
            json_ = response.content_type == "application/json"
            return response.status, await (response.json() if json_ else response.text())

    async def send(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Send a change as a page of the console would; headers with _ for -."""
        given = {"Origin": ORIGIN} | {name.replace("_", "-"): v for name, v in headers.items()}
        # An empty Origin is left out; an empty identity replaces the client's own.
        sent = {name: value for name, value in given.items() if value or name != "Origin"}
        async with self.client.request(method, self.url + path, json=body, headers=sent) as answer:
            return answer.status, await answer.json(), answer.headers.copy()


@asynccontextmanager
async def running(
    directory: Path, looma: str, zervi_url: str, **changes: Any
) -> AsyncIterator[Console]:
    """Start a console; ``changes`` replace sections of ``console.yaml``."""
    config = {
        "console": {"origin": ORIGIN},
        "looma": {"url": looma, "poll": "1s"},
        "zervi": {"url": zervi_url, "services": {"auth-service": f"{zervi_url}/health"}},
        **changes,
    }
    path = directory / "console.yaml"
    path.write_text(yaml.safe_dump(config))
    lines = Lines()
    made = parts(load(path), lines)
    app = application(made)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, sock).start()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with aiohttp.ClientSession(headers=BOB) as client:
        try:
            yield Console(url, client, app, made, lines.lines)
        finally:
            await runner.cleanup()


@asynccontextmanager
async def whole(directory: Path, **changes: Any) -> AsyncIterator[tuple[Console, Looma, Zervi]]:
    """Start stand-ins and a console."""
    async with AsyncExitStack() as stack:
        looma, zervi = await start_looma(0), await start_zervi(0, SECRET, algorithm="ES256")
        stack.push_async_callback(looma.stop)
        stack.push_async_callback(zervi.stop)
        console = await stack.enter_async_context(
            running(directory, looma.url, zervi.url, **changes)
        )
        yield console, looma, zervi


def entry(number: int = 1, /, *, report: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """Return an entry of the registry's listing, as Looma has it after a heartbeat."""
    return {
        "service_id": f"basic-{number:05}",
        "service_name": f"basic-server-{number % 7}",
        "service_type": "basic-server",
        "node_id": f"machine-{number % 30}",
        "cluster_id": "c1",
        "address": "10.0.0.7",
        "port": 10000,
        "labels": {"zone": f"z{number % 3}"},
        "metadata": {"version": "1.2.3", "environment": "test", "sidecar_version": "0.2.0"},
        "status": "active",
        "health_status": "healthy",
        "last_heartbeat": "2026-11-28T12:00:00.000+00:00",
        "report": {
            "timestamp": "2026-11-28T12:00:00.000Z",
            "ready": True,
            "not_ready_reason": "",
            "policy_digest": "3c9d1f0a52b7e641",
            "policy_generation": 1,
            "sidecar_version": "0.2.0",
            "key_set_age_seconds": 20.0,
            "metrics": {"checks_total": 1000, "denials_total": 10, "check_p99_seconds": 0.0002},
            **(report or {}),
        },
        **more,
    }


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe",
    "a\u2066b\u2069\x00\x1b[31m",
    "{{ 7*7 }}{% raw %}",
    "x" * 65536,
    "../../etc/passwd",
    "%2e%2e%2f",
    "javascript:alert(1)",
    "é" * 300,
    "\ud800",
)


def hostile_entry(number: int) -> Any:
    """Return an entry in which every text is hostile."""
    text = HOSTILE[number % len(HOSTILE)]
    return entry(
        number,
        service_id=f"{text}{number}",
        service_name=text,
        service_type=text,
        node_id=text,
        cluster_id=text,
        address=text,
        labels={text: text, "n": number},
        metadata={"version": text, "environment": text, "sidecar_version": text},
        status=text,
        health_status=text,
        last_heartbeat=text,
        report={"not_ready_reason": text, "policy_digest": text, "sidecar_version": text},
    )

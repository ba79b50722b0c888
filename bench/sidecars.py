"""Sidecars to measure: configuration, start, and the Checks sent to them."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.load import ask
from bench.processes import free_ports
from demo.minting import AUDIENCE, JWKS_ISSUER
from demo.process import Process, ProcessError
from sidecar.core.request import Request
from sidecar.extauthz.envoy_client import check_message, read_answer

READY_SECONDS = 30.0
POLL_SECONDS = 0.002

ALLOWED = "/api/services/orders"  # needs PERMISSION
FORBIDDEN = "/api/cluster/nodes"  # needs a permission that no token has
PERMISSION = "service:access"
ROUTES = (
    {"path": "/api/auth/*", "target": "zervi-auth-service", "auth_required": False},
    {"path": "/api/services/*", "target": "basic-server", "permissions": [PERMISSION]},
    {"path": "/api/cluster/*", "target": "looma", "permissions": ["cluster:manage"]},
)


@dataclass(frozen=True)
class Kind:
    """A variant of a sidecar to measure."""

    name: str
    transport: str = "h2"
    routes: int = 10
    cached_tokens: int = 10_000
    looma: str | None = None  # the registry's address
    gateway: bool = False  # whether it chooses among the registry's instances
    shadow: int | None = None  # percent of the checks that are compared with a candidate policy
    collector: str | None = None  # the URL that spans are sent to
    tree: Path | None = None  # its source tree; None: this one


@dataclass(frozen=True)
class Sidecar:
    """A running sidecar. ``ready_seconds``: from start to ready; ``address``: of listen.authz."""

    kind: Kind
    process: Process
    address: str
    ready_seconds: float

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


def table(number: int) -> Sequence[Mapping[str, object]]:
    """Return a table of ``number`` routes; the requested ones are in its middle."""
    rest = [
        {"path": f"/api/area{index % 97}/items{index}/{{id}}/*", "permissions": [PERMISSION]}
        for index in range(number - len(ROUTES))
    ]
    half = len(rest) // 2
    return [*rest[:half], *ROUTES, *rest[half:]]


@asynccontextmanager
async def running(kind: Kind, jwks_url: str, directory: Path) -> AsyncIterator[Sidecar]:
    """Run a sidecar until the block ends. Raises ProcessError."""
    authz, ops = free_ports(2)
    config = _write(kind, jwks_url, directory, authz, ops)
    # -P: the working directory is this tree, which must not precede another tree.
    command = [sys.executable, "-P", "-m", "sidecar", "serve", "--config", str(config)]
    env = {"PYTHONDONTWRITEBYTECODE": ""}  # if it is set, each start compiles all modules
    if kind.tree is not None:
        env["PYTHONPATH"] = str(kind.tree)
    begin = time.monotonic()
    process = await Process.start(f"sidecar-{kind.name}", command, directory, env)
    try:
        await _until_ready(process, ops)
        yield Sidecar(kind, process, f"127.0.0.1:{authz}", time.monotonic() - begin)
    finally:
        await process.stop()


async def _until_ready(process: Process, ops: int) -> None:
    """Wait until /readyz answers 200, over a plain socket, which is cheap."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _is_ready(ops):
                process.check_running()
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise ProcessError(f"{process.name} was not ready within {READY_SECONDS:.0f} s") from None


async def _is_ready(ops: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", ops)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
        return (await reader.readline()).split()[1:2] == [b"200"]
    finally:
        writer.close()


def _write(kind: Kind, jwks_url: str, directory: Path, authz: int, ops: int) -> Path:
    issuer = {"issuer": JWKS_ISSUER, "jwks_url": jwks_url, "audiences": [AUDIENCE]}
    settings: dict[str, Any] = {
        "listen": {
            "authz": f"127.0.0.1:{authz}",
            "ops": f"127.0.0.1:{ops}",
            "transport": kind.transport,
        },
        "zervi": {"issuers": [issuer], "token_cache": {"max_entries": kind.cached_tokens}},
        "policy": {"file": f"{kind.name}-routes.yaml"},
        "drain": "0s",
    }
    if kind.shadow is not None:
        shadow = {"file": f"{kind.name}-routes.yaml", "percent": kind.shadow}
        settings["policy"] = {"file": f"{kind.name}-routes.yaml", "shadow": shadow}
    if kind.collector is not None:
        settings["tracing"] = {"otlp": kind.collector}
    if kind.looma is not None:
        settings["looma"] = {
            "url": f"http://{kind.looma}",
            "service": {"name": "bench", "address": "127.0.0.1", "port": 10000},
            "heartbeat": "1s",
        }
        probe = {"url": f"http://{kind.looma}/health", "interval": "1s", "timeout": "1s"}
        settings["upstream"] = {"probe": probe}
    if kind.gateway:
        settings["gateway"] = {
            "envoy_dir": str(directory / f"{kind.name}-envoy"),
            "allow_networks": ["10.0.0.0/8"],
            "unsafe_plaintext_targets": True,
        }
    path = directory / f"{kind.name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    routes = {"api_gateway": {"routes": list(table(kind.routes))}}
    (directory / f"{kind.name}-routes.yaml").write_text(yaml.safe_dump(routes))
    return path


def message(token: str, path: str = ALLOWED) -> bytes:
    """Return a CheckRequest with the usual headers of a client and Envoy."""
    headers = {
        "user-agent": (b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",),
        "accept": (b"application/json",),
        "accept-language": (b"en",),
        "x-forwarded-proto": (b"http",),
        "x-request-id": (b"0b5d1f2e-6f1c-4a55-9a0a-1c8a3f1c9d10",),
        "authorization": (f"Bearer {token}".encode(),),
    }
    return check_message(
        Request("GET", "127.0.0.1:10000", path.encode(), headers, raw_headers=True)
    )


async def expect(sidecar: Sidecar, question: bytes, reason: str) -> None:
    """Check that one Check is answered with the expected reason.

    Raises ProcessError.
    """
    answer = read_answer(await ask(sidecar.address, question))
    if answer.metadata.get("reason") != reason:
        raise ProcessError(f"{sidecar.kind.name}: expected {reason}, got {answer.metadata}")

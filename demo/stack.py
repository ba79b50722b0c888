"""Runs everything on one machine: Zervi, Looma, a Basic Server, the sidecar and a real Envoy."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from demo.basic_server import BasicServer
from demo.envoy import Envoy, bootstrap
from demo.looma import Looma, start_looma
from demo.ports import Ports
from demo.process import Process, ProcessError
from demo.zervi import Zervi, start_zervi
from sidecar.documents.own_yaml import read

READY_SECONDS = 20.0
_POLL_SECONDS = 0.02

DEMO = Path(__file__).parent
BOOTSTRAPS = DEMO.parent / "envoy"

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # a test's configuration may be large

Changes = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Setup:
    """What a stack is made of; the defaults are the demo's.

    ``authz`` is ``listen.authz`` (default: loopback, on the stack's port). ``configure`` may change
    the sidecar's configuration before it is written. ``serve`` is the command that ``--config
    FILE`` is appended to. With ``remember`` the bootstrap is what `generate envoy --remember`
    prints for the stack's own configuration. ``manager`` and ``ext_authz`` are as
    ``envoy.bootstrap`` takes them.
    """

    bootstrap: str = "envoy.yaml"
    routes: str = field(default_factory=lambda: (DEMO / "routes.yaml").read_text())
    configure: Changes | None = None
    serve: Sequence[str] = (sys.executable, "-m", "sidecar", "serve")
    authz: str | None = None
    upstream_grpc: int | None = None
    manager: Mapping[str, Any] = field(default_factory=dict)
    ext_authz: Mapping[str, Any] = field(default_factory=dict)
    remember: str = ""


@dataclass(frozen=True)
class Stack:
    """The running parts. ``secret`` signs today's tokens."""

    ports: Ports
    directory: Path
    secret: bytes
    zervi: Zervi
    looma: Looma
    basic_server: BasicServer
    sidecar: Process
    envoy: Envoy

    @property
    def ops_url(self) -> str:
        """Where the sidecar's health and metrics are."""
        return f"http://127.0.0.1:{self.ports.ops}"


@asynccontextmanager
async def running(
    ports: Ports, directory: Path, setup: Setup | None = None
) -> AsyncIterator[Stack]:
    """Start everything in order, end it in reverse. Files go to ``directory``.

    Raises EnvoyMissingError, ProcessError, or OSError where a port is in use.
    """
    setup = setup or Setup()
    file = BOOTSTRAPS / setup.bootstrap
    async with AsyncExitStack() as stack:
        secret = secrets.token_hex(32).encode()
        zervi = await start_zervi(ports.zervi, secret)
        stack.push_async_callback(zervi.stop)
        looma = await start_looma(ports.looma, poll=1.0)
        stack.push_async_callback(looma.stop)
        basic_server = BasicServer()
        stack.push_async_callback(basic_server.stop)
        await basic_server.start(ports.basic_server)
        authz = setup.authz or f"127.0.0.1:{ports.authz}"
        config = _write_config(ports, directory, authz, setup)
        upstream_grpc = setup.upstream_grpc or ports.basic_server
        if setup.remember:
            command = [
                *(sys.executable, "-m", "sidecar", "generate", "envoy", "--config", str(config)),
                *("--listen", f"127.0.0.1:{ports.envoy}", "--stats", f"127.0.0.1:{ports.stats}"),
                *("--upstream-grpc", f"127.0.0.1:{upstream_grpc}", "--remember", setup.remember),
            ]
            file = await _generated(command, directory, secret)
        sidecar = await start_sidecar([*setup.serve, "--config", str(config)], directory, secret)
        stack.push_async_callback(sidecar.stop)
        await until_ready(sidecar, f"http://127.0.0.1:{ports.ops}")
        loaded = bootstrap(
            file,
            listener_port=ports.envoy,
            stats_port=ports.stats,
            authz=authz,
            upstream=ports.basic_server,
            upstream_grpc=upstream_grpc,
            manager=setup.manager,
            ext_authz=setup.ext_authz,
        )
        envoy = await Envoy.start(loaded, directory)
        stack.push_async_callback(envoy.stop)
        yield Stack(ports, directory, secret, zervi, looma, basic_server, sidecar, envoy)


async def _generated(command: Sequence[str], directory: Path, secret: bytes) -> Path:
    """Generate the bootstrap of an Envoy that remembers; its path. Raises ProcessError."""
    environment = {**os.environ, "ZERVI_JWT_SECRET": secret.decode()}
    made = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    text, errors = await made.communicate()
    if made.returncode != 0:
        raise ProcessError(f"`generate envoy` failed: {errors.decode()}")
    file = directory / "envoy-remember.yaml"
    file.write_bytes(text)
    return file


async def start_sidecar(command: Sequence[str], directory: Path, secret: bytes) -> Process:
    """Start the sidecar as a process of its own. Raises ProcessError."""
    environment = {"ZERVI_JWT_SECRET": secret.decode()}
    return await Process.start("sidecar", command, directory, environment)


async def until_ready(sidecar: Process, ops_url: str, path: str = "/readyz") -> None:
    """Wait until the process is ready, as it says at ``path``. Raises ProcessError."""
    try:
        async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as session:
            while not await _says_ready(session, ops_url + path):
                sidecar.check_running()
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        last = "\n".join(sidecar.output().strip().splitlines()[-8:])
        raise ProcessError(f"not ready within {READY_SECONDS:.0f} s:\n{last}") from error


async def _says_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


def _write_config(ports: Ports, directory: Path, authz: str, setup: Setup) -> Path:
    """Write the demo's configuration with this stack's addresses; its path."""
    config: dict[str, Any] = read(DEMO / "sidecar.yaml")
    config["listen"].update(authz=authz, ops=f"127.0.0.1:{ports.ops}")
    keys = f"http://127.0.0.1:{ports.zervi}/.well-known/jwks.json"
    config["zervi"]["issuers"][0]["jwks_url"] = keys
    config["looma"]["url"] = f"http://127.0.0.1:{ports.looma}"
    config["looma"]["service"]["port"] = ports.envoy
    config["upstream"]["probe"]["url"] = f"http://127.0.0.1:{ports.basic_server}/health"
    if setup.configure is not None:
        setup.configure(config)
    (directory / "routes.yaml").write_text(setup.routes)
    path = directory / "sidecar.yaml"
    path.write_text(yaml.dump(config, Dumper=_DUMPER, sort_keys=False))
    return path

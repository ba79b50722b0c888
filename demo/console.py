"""The console beside the demo: a Basic Server of its own behind an Envoy and a sidecar."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.envoy import Envoy, bootstrap
from demo.gateway import free_port
from demo.process import Process
from demo.stack import BOOTSTRAPS, until_ready

FILES = BOOTSTRAPS / "console"

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RunningConsole:
    """``url`` is what a browser opens, ``direct`` the console's own address."""

    url: str
    direct: str
    console: Process
    sidecar: Process
    envoy: Envoy


@asynccontextmanager
async def running(
    directory: Path,
    *,
    looma: str,
    zervi: str,
    port: int | None = None,
    change: Change | None = None,
) -> AsyncIterator[RunningConsole]:
    """Start the console with its Envoy on ``port``, everything else on free ports.

    ``looma`` and ``zervi`` are their URLs. ``change`` may change ``console.yaml`` before it is
    written. Files go to ``directory``. Raises ProcessError.
    """
    ports = {name: free_port() for name in ("authz", "ops", "console", "stats")}
    envoy_port = port or free_port()
    origin = f"http://localhost:{envoy_port}"
    config = _write_console(directory, origin, ports["console"], looma, zervi, change)
    sidecar_config = _write_sidecar(directory, origin, ports, zervi)
    command = [sys.executable, "-m", "sidecar"]
    async with AsyncExitStack() as stack:
        console = await Process.start(
            "console", [*command, "console", "--config", str(config)], directory
        )
        stack.push_async_callback(console.stop)
        sidecar = await Process.start(
            "console-sidecar", [*command, "serve", "--config", str(sidecar_config)], directory
        )
        stack.push_async_callback(sidecar.stop)
        await until_ready(sidecar, f"http://127.0.0.1:{ports['ops']}")
        await until_ready(console, f"http://127.0.0.1:{ports['console']}", "/healthz")
        loaded = bootstrap(
            FILES / "envoy.yaml",
            listener_port=envoy_port,
            stats_port=ports["stats"],
            authz=f"127.0.0.1:{ports['authz']}",
            upstream=ports["console"],
            upstream_grpc=ports["console"],
        )
        envoy = await Envoy.start(loaded, directory, name="console-envoy")
        stack.push_async_callback(envoy.stop)
        direct = f"http://127.0.0.1:{ports['console']}"
        yield RunningConsole(origin, direct, console, sidecar, envoy)


def _write_console(
    directory: Path, origin: str, port: int, looma: str, zervi: str, change: Change | None
) -> Path:
    directory.mkdir(exist_ok=True)
    config: dict[str, Any] = yaml.safe_load((FILES / "console.yaml").read_text())
    config["console"] = {"origin": origin, "listen": f"127.0.0.1:{port}"}
    config["looma"]["url"] = looma
    config["looma"]["poll"] = "1s"
    config["zervi"] = {"url": zervi, "services": {"auth-service": f"{zervi}/health"}}
    config["environments"] = {"database": "environments.db"}
    config["policies"] = [{"config": "console-sidecar.yaml"}]
    if change is not None:
        change(config)
    path = directory / "console.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _write_sidecar(directory: Path, origin: str, ports: dict[str, int], zervi: str) -> Path:
    config: dict[str, Any] = yaml.safe_load((FILES / "sidecar.yaml").read_text())
    config["listen"] = {name: f"127.0.0.1:{ports[name]}" for name in ("authz", "ops")}
    config["zervi"]["issuers"][0]["jwks_url"] = f"{zervi}/.well-known/jwks.json"
    config["zervi"]["token_sources"][0]["origins"] = [origin]
    config["upstream"]["probe"] = {"url": f"http://127.0.0.1:{ports['console']}/healthz"}
    config["drain"] = "0s"
    (directory / "routes.yaml").write_text((FILES / "routes.yaml").read_text())
    path = directory / "console-sidecar.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path

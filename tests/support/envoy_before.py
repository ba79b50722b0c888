"""Runs another Envoy in front of a running stack, with settings that a test changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo.envoy import Envoy, bootstrap
from demo.stack import BOOTSTRAPS, Stack
from tests.support.ports import free_port


async def envoy_before(
    stack: Stack,
    directory: Path,
    name: str,
    manager: Mapping[str, Any] | None = None,
    ext_authz: Mapping[str, Any] | None = None,
) -> Envoy:
    """Start envoy.yaml with these settings of the connection manager and of ext_authz."""
    loaded = bootstrap(
        BOOTSTRAPS / "envoy.yaml",
        listener_port=free_port(),
        stats_port=free_port(),
        authz=f"127.0.0.1:{stack.ports.authz}",
        upstream=stack.ports.basic_server,
        upstream_grpc=stack.ports.basic_server,
        manager=manager,
        ext_authz=ext_authz,
    )
    return await Envoy.start(loaded, directory, name=name)


def port_of(envoy: Envoy) -> int:
    """Return the port of an Envoy's listener."""
    return int(envoy.url.rpartition(":")[2])

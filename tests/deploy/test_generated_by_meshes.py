"""What a mesh's own program makes of ``deploy/``: doctor reads it, and Envoy runs it."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.envoy import Envoy, bootstrap
from demo.ports import Ports
from demo.stack import BOOTSTRAPS, Setup, Stack, running
from sidecar.workbench.doctor import examine
from tests.deploy.meshes import ISTIO, envoy_gateway, recorded, sections, standing
from tests.deploy.programs import need
from tests.support.http1 import send
from tests.support.ports import free_port, free_ports_in_a_row
from tests.workbench.doctoring import ANYTHING

SOCKET = "unix:/run/zervi/authz.sock"


def test_the_record_is_what_egctl_makes_of_deploy_today() -> None:
    assert envoy_gateway(need("egctl")) == recorded()


def test_doctor_finds_nothing_in_what_envoy_gateway_makes_of_deploy() -> None:
    """Not even an info of what it cannot set: patches.yaml sets it."""
    wanted = ANYTHING._replace(address=SOCKET)
    found = list(examine(recorded(), wanted, "envoy-gateway"))
    assert {str(each.severity) for each in found} == {"info"}
    assert not [each.message for each in found if "does not let you choose" in each.message]


def test_doctor_finds_only_what_istio_cannot_set_in_what_istio_makes_of_deploy() -> None:
    document = json.loads(ISTIO.read_text("utf-8"))
    found = list(examine(document, ANYTHING._replace(address="127.0.0.1:9001"), "istio"))
    assert {(each.code, str(each.severity)) for each in found} == {("mesh", "info")}


def test_doctor_finds_the_sidecars_address_among_the_endpoints_of_a_control_plane() -> None:
    wanted = ANYTHING._replace(address="unix:/run/other.sock")
    (found,) = [
        each for each in examine(recorded(), wanted, "envoy-gateway") if each.code == "address"
    ]
    assert found.message == f"Envoy asks {SOCKET}, the sidecar listens on unix:/run/other.sock"


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ('"code": "ServiceUnavailable"', '"code": "Forbidden"', "status-on-error"),
        ('"numRetries": 20', '"numRetries": 0', "restart"),
        ('"maxRetries": 10000', '"maxConnections": 1024', "restart"),
        ("%PATH(NQ)%", "%REQ(:PATH)%", "log"),
        ("least_request.v3.LeastRequest", "override_host.v3.OverrideHost", "reroute"),
        ('"requestHeadersTimeout": "10s"', '"streamIdleTimeout": "10s"', "slow-client"),
    ],
    ids=lambda value: value[:24],
)
def test_what_envoy_gateway_can_set_is_a_finding_if_it_is_missing(
    before: str, after: str, code: str
) -> None:
    text = json.dumps(recorded())
    assert before in text
    changed = json.loads(text.replace(before, after))
    wanted = ANYTHING._replace(address=SOCKET)
    found = [each for each in examine(changed, wanted, "envoy-gateway") if each.code != "mesh"]
    assert {each.code for each in found} == {code}
    hint = found[0].help
    assert any(name in hint for name in ("SecurityPolicy", "EnvoyProxy", "Traffic", "LbKnown")), (
        hint
    )


def test_a_lock_that_passes_a_denial_is_none() -> None:
    text = json.dumps(recorded()).replace('"exact": "public"', '"exact": "no_route"')
    said = [each.message for each in examine(json.loads(text), ANYTHING, "envoy-gateway")]
    assert [each for each in said if "nothing denies a request" in each]


@asynccontextmanager
async def guarded(directory: Path, document: Any) -> AsyncIterator[tuple[Stack, int]]:
    """Run a stack, and beside its Envoy the one of a mesh, whose port is given."""
    ports = Ports.from_base(free_ports_in_a_row(len(Ports._fields)))
    authz = directory / "authz.sock"
    async with running(ports, directory, Setup(authz=f"unix:{authz}")) as stack:
        port = free_port()
        loaded = bootstrap(
            BOOTSTRAPS / "envoy.yaml",
            listener_port=port,
            stats_port=free_port(),
            authz=f"unix:{authz}",
            upstream=ports.basic_server,
            upstream_grpc=ports.basic_server,
        )
        standing(document, loaded, {"pipe": {"path": str(authz)}}, ports.basic_server)
        (directory / "mesh").mkdir()
        envoy = await Envoy.start(loaded, directory / "mesh", name="mesh")
        try:
            yield stack, port
        finally:
            await envoy.stop()


@pytest.mark.parametrize("mesh", ["envoy-gateway", "istio"])
async def test_an_envoy_of_the_mesh_asks_about_each_request_and_denies_without_an_answer(
    tmp_path: Path, mesh: str
) -> None:
    document = recorded() if mesh == "envoy-gateway" else json.loads(ISTIO.read_text("utf-8"))
    async with guarded(tmp_path, document) as (stack, port):
        alice = ("Authorization", f"Bearer {stack.zervi.token('alice')}")
        path = "/api/services/list?token=in-the-query"
        allowed = await send(port, path, alice, ("x-user-id", "99"))
        denied = await send(port, path, ("x-user-id", "99"))
        assert (allowed.status, denied.status) == (200, 401)
        stack.sidecar.signal(signal.SIGKILL)
        await stack.sidecar.wait()
        assert (await send(port, path, alice)).status == 503
    log = (tmp_path / "mesh" / "mesh.stdout").read_text()
    if mesh == "istio":
        assert not log  # off by default
        return
    assert "in-the-query" not in log
    reasons = [json.loads(line)["reason"] for line in log.splitlines()]
    assert reasons == ["ok", "token_missing", None]


async def test_a_route_of_envoy_gateway_without_a_policy_gets_403_from_the_second_lock(
    tmp_path: Path,
) -> None:
    document = recorded()
    for section in sections(document):
        for table in section.get("dynamicRouteConfigs", ()):
            for host in table["routeConfig"]["virtualHosts"]:
                for route in host["routes"]:
                    del route["typedPerFilterConfig"]
    async with guarded(tmp_path, document) as (stack, port):
        alice = ("Authorization", f"Bearer {stack.zervi.token('alice')}")
        assert (await send(port, "/api/services/list", alice)).status == 403

"""The probe without a registry: what the whole sidecar says of its upstream."""

from pathlib import Path

from grpc_health.v1 import health_pb2

from tests.edge.looma_rig import server
from tests.edge.sidecar_rig import Sidecar, running
from tests.edge.transport_rig import call, connect

METHOD = "/grpc.health.v1.Health/Check"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CRITICAL = 'zervi_sidecar_upstream_state{state="critical"}'


async def health(sidecar: Sidecar, service: str) -> int:
    """Return a service's status as a readiness probe sees it."""
    request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    async with connect(sidecar.address("authz")) as channel:
        answer = await call(channel, METHOD, request)
    return int(health_pb2.HealthCheckResponse.FromString(answer).status)


async def test_health_and_metrics_follow_the_probe_without_a_registry(tmp_path: Path) -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as upstream:
        url = f"http://127.0.0.1:{upstream.port}/health"
        probed = {"probe": {"url": url, "interval": "1s", "timeout": "1s"}}
        async with running(tmp_path, lambda it: it.configure(upstream=probed)) as sidecar:
            await sidecar.says("the upstream is healthy")
            assert await health(sidecar, "upstream") == SERVING
            assert (await sidecar.component("upstream"))["state"] == "ready"
            upstream.answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
            await sidecar.says("the upstream is critical")
            assert await health(sidecar, "upstream") == NOT_SERVING
            assert await health(sidecar, "") == SERVING
            assert await sidecar.metric(CRITICAL) == 1


async def test_a_pod_without_probe_and_registry_becomes_ready(tmp_path: Path) -> None:
    """Also where the Basic Server's readiness probe asks for its health."""
    async with running(tmp_path) as sidecar:
        assert await health(sidecar, "upstream") == SERVING
        assert (await sidecar.ops("/readyz"))[0] == 200

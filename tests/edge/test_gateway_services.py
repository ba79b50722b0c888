"""The services in `gateway.services` are probed, and one that is down gets no request."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from sidecar.app import gateway_wiring
from sidecar.app.gateway_services import FixedServices
from sidecar.config.gateway import GatewaySection
from sidecar.core.placement.directory import Health
from sidecar.upstream.probe import ProbeSettings
from tests.support.ports import free_port


def section(urls: tuple[str, ...], path: str | None = None) -> GatewaySection:
    probes = {} if path is None else {"zervi": path}
    services = {"zervi": urls}
    return GatewaySection(
        envoy_dir="/run", allow_networks=("10.0.0.0/8",), services=services, probes=probes
    )


def test_an_address_is_probed_by_its_path_or_by_a_connection() -> None:
    urls = ("http://zervi:8080", "http://zervi", "https://zervi", "http://[fd00::1]")
    assert [each.url for each in gateway_wiring.probes(section(urls)).values()] == [
        "tcp://zervi:8080",
        "tcp://zervi:80",
        "tcp://zervi:443",
        "tcp://[fd00::1]:80",
    ]
    (probed,) = gateway_wiring.probes(section(urls[:1], "/health")).values()
    assert probed == ProbeSettings("http://zervi:8080/health", name="zervi at http://zervi:8080")


class Zervi:
    """A server on loopback whose `/health` a test sets."""

    def __init__(self) -> None:
        self.status = 200
        self.port = free_port()
        application = web.Application()
        application.router.add_get("/health", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status)


@pytest.fixture
async def zervi() -> AsyncIterator[Zervi]:
    server = Zervi()
    await server.start()
    yield server
    await server.stop()


async def test_health_follows_the_probes_of_a_host_by_its_name(
    zervi: Zervi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = gateway_wiring.probes(section((f"http://localhost:{zervi.port}",), "/health"))
    monkeypatch.setattr(
        gateway_wiring,
        "probes",
        lambda _: {url: each._replace(interval=0.01) for url, each in found.items()},
    )
    changed = asyncio.Event()
    services = FixedServices(section((f"http://localhost:{zervi.port}",), "/health"), changed.set)

    async def until(health: Health) -> None:
        async with asyncio.timeout(20):
            while services.instances()["zervi"][0].health is not health:
                await changed.wait()
                changed.clear()

    assert services.instances()["zervi"][0].usable, "until the first probe ends"
    services.start()
    try:
        await until(Health.HEALTHY)
        zervi.status = 503
        await until(Health.CRITICAL)
        assert "zervi at http://localhost" in caplog.text
        zervi.status = 200
        await until(Health.HEALTHY)
        await zervi.stop()
        await until(Health.CRITICAL)
    finally:
        await services.close()

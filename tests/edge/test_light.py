"""What a running sidecar does not use, it does not import."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from demo.process import Process
from tests.edge.certificates import Authority
from tests.edge.key_server import document, serving
from tests.edge.looma_rig import server as registry
from tests.edge.sidecar_rig import ISSUER, Sidecar, token
from tests.edge.test_zervi_tls import server_tls
from tests.edge.zervi_rig import key_set
from tests.support.waiting import eventually

HEAVY = frozenset(
    {
        "aiohttp",
        "attr",
        "email",
        "frozenlist",
        "grpc",
        "html",
        "http.client",
        "importlib.metadata",
        "jinja2",
        "jwt",
        "multidict",
        "multiprocessing",
        "opentelemetry",
        "prometheus_client",
        "propcache",
        "rich",
        "sidecar.app.gateway",
        "sidecar.app.page",
        "sidecar.console",
        "sidecar.core.placement",
        "sidecar.gateway",
        "sidecar.extauthz.traced",
        "sidecar.looma.directory",
        "sidecar.ops.page",
        "sidecar.ops.traces",
        "sidecar.zervi.asking",
        "sidecar.zervi.look_up",
        "sidecar.zervi.look_ups",
        "urllib.request",
        "xml",
        "yarl",
    }
)


class Light(Sidecar):
    """A sidecar that writes the names of its modules."""

    @property
    def _names(self) -> Path:
        return self.directory / "modules.txt"

    async def start(self, environment: Any = None) -> Process:
        script = Path(__file__).with_name("modules_of_serve.py")
        config = self.directory / "sidecar.yaml"
        command = [sys.executable, str(script), "serve", "--config", str(config)]
        more = {
            "MODULES_FILE": str(self._names),
            "PYTHONPATH": str(script.parents[2]),
            # Measuring coverage imports modules of its own.
            "COVERAGE_PROCESS_START": "",
            "COVERAGE_PROCESS_CONFIG": "",
            **(environment or {}),
        }
        self.process = await Process.start("sidecar", command, self.directory, more)
        return self.process

    async def modules(self) -> set[str]:
        """Return the modules that it has now."""
        self._names.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)
        await eventually(self._names.exists, "the names of the modules")
        return set(await asyncio.to_thread(lambda: self._names.read_text().split()))


async def test_a_sidecar_with_a_secret_imports_neither_a_server_framework_nor_cryptography(
    tmp_path: Path,
) -> None:
    """The first token brings PyJWT, the first scrape prometheus_client, and neither aiohttp."""
    sidecar = Light(tmp_path)
    process = await sidecar.start()
    try:
        await sidecar.until_ready()
        assert (await sidecar.ops("/readyz"))[0] == 200
        assert await sidecar.reason("/open/1") == "public"
        modules = await sidecar.modules()
        assert not modules & (HEAVY | {"cryptography", "h2"})
        assert await sidecar.reason(bearer=token()) == "ok"
        assert (await sidecar.ops("/metrics"))[0] == 200
        used = await sidecar.modules()
        assert {"jwt", "prometheus_client"} <= used
        assert not used & {"aiohttp", "yarl", "attr", "multidict", "importlib.metadata"}
    finally:
        await process.stop()


async def test_a_sidecar_with_keys_over_https_and_a_registry_imports_none_either(
    tmp_path: Path,
) -> None:
    """TLS, key sets and reports need h11, ssl and cryptography, and nothing more."""
    ours = Authority("ours")
    (tmp_path / "ca.pem").write_bytes(ours.pem)
    async with (
        serving(document(key_set("a")), server_tls(ours, tmp_path)) as keys,
        registry(b"HTTP/1.1 204 No Content\r\n\r\n") as looma,
    ):
        sidecar = Light(tmp_path)
        sidecar.configure(
            zervi={"issuers": [{"issuer": ISSUER, "jwks_url": keys.url, "ca_file": "ca.pem"}]},
            looma={
                "url": f"http://127.0.0.1:{looma.port}",
                "heartbeat": "1s",
                "service": {"name": "a", "address": "10.0.0.7", "port": 10000},
            },
        )
        process = await sidecar.start()
        try:
            await sidecar.until_ready()
            await eventually(lambda: looma.received, "a registration")
            modules = await sidecar.modules()
            assert {"cryptography", "h11", "ssl"} <= modules
            assert not modules & HEAVY
        finally:
            await process.stop()

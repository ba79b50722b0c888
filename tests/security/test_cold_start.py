"""A sidecar that starts while Zervi is dead: closed, patient, and open soon after its return."""

from pathlib import Path

from demo import minting
from demo.zervi import JWKS_PATH, start_zervi
from tests.edge.sidecar_rig import Sidecar
from tests.support.ports import free_port
from tests.support.waiting import eventually


async def test_a_cold_start_with_a_dead_zervi(tmp_path: Path) -> None:
    """Not ready, a token that it cannot judge is a 503, public routes go on; then all is well."""
    port = free_port()
    sidecar = Sidecar(tmp_path)
    url = f"http://127.0.0.1:{port}{JWKS_PATH}"
    issuer = {"issuer": minting.JWKS_ISSUER, "jwks_url": url, "algorithms": ["ES256"]}
    sidecar.configure(zervi={"issuers": [issuer]})
    process = await sidecar.start()
    try:
        await sidecar.says("listen.ops: ")
        key = minting.new_key("zervi-1", "ES256")
        claims = minting.user_claims("alice") | {"permissions": ["closed:read"]}
        assert (await sidecar.ops("/readyz"))[0] == 503
        assert await sidecar.reason(bearer=minting.sign(claims, key)) == "not_ready"
        assert await sidecar.reason("/open/1") == "public"
        zervi = await start_zervi(port, b"not used here", algorithm="ES256")
        try:
            await eventually(lambda: sidecar.said("ready: version"), "it is ready", within=20)
            assert (await sidecar.ops("/readyz"))[0] == 200
            assert await sidecar.reason(bearer=minting.sign(claims, zervi.keys[-1])) == "ok"
        finally:
            await zervi.stop()
    finally:
        await process.stop()

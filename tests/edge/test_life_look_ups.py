"""A running sidecar that asks Zervi: its health, its metrics, and what a reload keeps."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.edge import key_server
from tests.edge.key_server import KeyServer, document, serving
from tests.edge.sidecar_rig import ISSUER, ROUTES, Sidecar, running, token
from tests.support.waiting import eventually

NAME = "zervi_sidecar_look_ups_total"
GRANTED = document(json.dumps({"code": 0, "data": ["closed:read"]}).encode())


def asking(server: KeyServer, **others: Any) -> Callable[[Sidecar], None]:
    """Configure look-ups at a server, with a token that its own file holds."""

    def prepare(sidecar: Sidecar) -> None:
        sidecar.write("zervi-token", "a token that no log may hold")
        configure(sidecar, server, **others)

    return prepare


def configure(sidecar: Sidecar, server: KeyServer, **others: Any) -> None:
    url = f"http://127.0.0.1:{server.port}"
    issuer = {
        "issuer": ISSUER,
        "secret_file": "secret",
        "introspection": {"kind": "zervi", "url": f"{url}/validate", "match": {"prefix": "zat_"}},
    }
    permissions = {"url": f"{url}/users/{{subject}}", "wait": "5s", **others}
    sidecar.configure(zervi={"issuers": [issuer], "permissions": permissions})


async def test_a_reload_of_the_policy_keeps_what_zervi_said(tmp_path: Path) -> None:
    """Another source is asked anew; without the section nothing is asked any more."""
    async with serving(GRANTED) as server, running(tmp_path, asking(server)) as sidecar:
        bearer = token(permissions=None)
        assert await sidecar.reason(bearer=bearer) == "ok"
        sidecar.write("routes.yaml", ROUTES + '    - {path: "/more", permissions: [closed:read]}\n')
        sidecar.signal(signal.SIGHUP)
        await sidecar.says("is in force (was")
        assert await sidecar.reason("/more", bearer) == "ok"
        assert len(server.exchanges) == 1
        configure(sidecar, server, ttl="61s")
        await sidecar.says("sidecar.yaml reloaded: zervi.permissions")
        await eventually(lambda: sidecar.said("sidecar.yaml reloaded"), "the reload")
        assert await sidecar.reason("/more", bearer) == "ok"
        assert len(server.exchanges) == 2
        sidecar.configure()
        await sidecar.says("sidecar.yaml reloaded: zervi.issuers")
        assert await sidecar.reason("/more", bearer) == "permission_denied"
        components = json.loads((await sidecar.ops("/readyz"))[1])["components"]
        assert not {"permissions", f"introspection:{ISSUER}"} & set(components)


async def test_health_metrics_and_the_log_say_that_zervi_fails(tmp_path: Path) -> None:
    """The sidecar stays ready, and its own token is in none of them."""
    async with serving(GRANTED) as server, running(tmp_path, asking(server)) as sidecar:
        assert (await sidecar.component("permissions"))["state"] == "ready"
        assert await sidecar.reason(bearer=token(permissions=None)) == "ok"
        server.answer = key_server.reset
        for user in range(100, 105):
            assert await sidecar.reason(bearer=token(permissions=None, user_id=user)) == "not_ready"
        found = await sidecar.component("permissions")
        assert (found["state"], found["detail"]) == (
            "degraded",
            "the connection broke: connection reset by peer",
        )
        status, text = await sidecar.ops("/readyz")
        assert (status, json.loads(text)["state"]) == (200, "degraded")
        assert (await sidecar.component(f"introspection:{ISSUER}"))["state"] == "ready"
        metric = f'{NAME}{{result="failed",source="permissions"}}'
        assert await sidecar.metric(metric) == 5
        assert await sidecar.metric('zervi_sidecar_look_up_answers{source="permissions"}') == 6
        assert sidecar.said("permissions: no answer from http://127.0.0.1")
        assert not sidecar.said("no log may hold")

"""A sidecar with its page, and a client of it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.edge.sidecar_rig import Sidecar, running

ROUTES = """\
api_gateway:
  routes:
    - {path: "/open/*", auth_required: false}
    - {path: "/closed/*", permissions: [closed:read]}
    - {path: "/users/{id}/orders", name: orders, owner: id, owner_unless: ["<b>admin</b>"]}
"""
CANDIDATE = ROUTES.replace("closed:read", "closed:write")


class Answer(NamedTuple):
    """An answer of the page."""

    status: int
    headers: Mapping[str, str]
    text: str


class WithPage(NamedTuple):
    """A sidecar that serves its page."""

    sidecar: Sidecar

    @property
    def url(self) -> str:
        return f"http://{self.sidecar.address('page')}"

    async def get(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        """Send a request; ``_`` in a header's name is ``-``."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}{path}", headers=sent) as answer,
        ):
            return Answer(answer.status, dict(answer.headers), await answer.text())


@contextlib.asynccontextmanager
async def with_page(
    directory: Path, routes: str = ROUTES, **sections: Any
) -> AsyncIterator[WithPage]:
    """Run a sidecar with its page and a candidate policy within the block."""

    def prepare(sidecar: Sidecar) -> None:
        sidecar.write("routes.yaml", routes)
        sidecar.write("candidate.yaml", CANDIDATE)
        listen = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0", "page": "127.0.0.1:0"}
        policy = {"file": "routes.yaml", "shadow": {"file": "candidate.yaml"}}
        sidecar.configure(**{"listen": listen, "policy": policy, **sections})

    async with running(directory, prepare) as sidecar:
        yield WithPage(sidecar)

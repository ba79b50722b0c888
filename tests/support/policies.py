"""Requests, routes, tokens and snapshots as plain values, for tests of what decides."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from demo import minting
from sidecar.core.request import Request
from sidecar.core.routes.table import Policy, Route, compile_policy
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer

SECRET = b"a secret made up for the tests of this project"
NOW = 1_800_000_000.0  # seconds since the epoch

BEARER = TokenSource("header", "authorization", "Bearer")
HS256 = Issuer("jobfirst-auth", frozenset({"HS256"}), secrets=(SECRET,))

PUBLIC = Route(0, "public", "/open/*", public=True)
PROTECTED = Route(1, "protected", "/closed/*", target="inner", permissions=("closed:read",))
OWNED = Route(2, "owned", "/users/{user_id}/orders", owner=1)
TABLE = (PUBLIC, PROTECTED, OWNED)


def request(
    target: bytes = b"/closed/1",
    method: str = "GET",
    headers: Mapping[str, Sequence[bytes]] | None = None,
    host: str = "api.jobfirst.local",
) -> Request:
    """Return a request as Envoy asks about it with ``encode_raw_headers``."""
    return Request(method, host, target, dict(headers or {}), raw_headers=True)


def claims(now: float = NOW, **others: Any) -> dict[str, Any]:
    """Return a user's claims that are good at ``now``."""
    return {"iss": HS256.name, "user_id": 7, "exp": int(now) + 600, **others}


def bearer(now: float = NOW, **others: Any) -> dict[str, tuple[bytes, ...]]:
    """Return the header of a request whose token carries these claims."""
    token = minting.sign(claims(now, **others), SECRET)
    return {"authorization": (f"Bearer {token}".encode(),)}


def live_bearer(**others: Any) -> dict[str, tuple[bytes, ...]]:
    """Return the header with a token that is good by the wall clock, for longer than any run."""
    now = time.time()
    return bearer(now, **{"exp": int(now) + 86_400, **others})


def snapshot(
    routes: Iterable[Route] = TABLE,
    issuers: tuple[Issuer, ...] = (HS256,),
    sources: tuple[TokenSource, ...] = (BEARER,),
    **settings: Any,
) -> Snapshot:
    """Return a snapshot; ``settings`` go to the policy."""
    return Snapshot(policy(routes, **settings), issuers, sources)


def policy(routes: Iterable[Route], **settings: Any) -> Policy:
    """Compile a route table."""
    return compile_policy(tuple(routes), digest="test", **settings)

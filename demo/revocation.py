"""The demo's requests while Zervi changes: a logout, a role, a disabled user, an outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp

from demo.registry import Observed
from demo.stack import Stack
from demo.zervi_live import INTROSPECTION_PATH, OPAQUE_PREFIX
from demo.zervi_revocations import REVOCATIONS_PATH

WAIT_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 0.05
TTL_SECONDS: Final = 2  # of what the sidecar asks

# Words of the results: a line has 80 columns.
REVOKED: Final = "revoked"
DENIED: Final = "denied"

_LIST, _NODES = "/api/services/list", "/api/cluster/nodes"

_Ask = Callable[[], Awaitable[str]]


def configure(config: dict[str, Any]) -> None:
    """Let the sidecar follow Zervi's feed and ask it; in seconds, for a person who watches.

    Requests wait longer than usual for an answer, since everything starts on one machine.
    """
    zervi = config["zervi"]
    first = zervi["issuers"][0]
    base = first["jwks_url"].partition("/.well-known")[0]
    zervi["revocation"] = {
        "url": base + REVOCATIONS_PATH,
        "issuers": [issuer["issuer"] for issuer in zervi["issuers"]],
        "poll": "1s",
    }
    zervi["permissions"] = {
        "url": base + "/api/users/{subject}/permissions",
        "when": "always",
        "issuers": [first["issuer"]],
        "ttl": f"{TTL_SECONDS}s",
        "wait": "2s",
    }
    first["introspection"] = {
        "kind": "rfc7662",
        "url": base + INTROSPECTION_PATH,
        "match": {"prefix": OPAQUE_PREFIX},
        "ttl": f"{TTL_SECONDS}s",
        "wait": "2s",
    }


async def run(stack: Stack) -> AsyncIterator[Observed]:
    """Cause the events, one after the other; each waits for what it changes."""
    zervi = stack.zervi
    async with aiohttp.ClientSession() as session:

        def asks(token: str, path: str = _LIST) -> _Ask:
            return lambda: _answer(session, stack, path, token)

        async def post(path: str, form: Mapping[str, str], token: str = "") -> None:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.post(zervi.url + path, json=form, headers=headers) as answer:
                answer.raise_for_status()

        async def logs_in() -> str:  # a token of the logout's second is revoked too
            return await asks(zervi.token("alice"))()

        alice, bob = zervi.token("alice"), zervi.token("bob")
        opaque = zervi.live.opaque_token("bob")
        yield await _until("alice sends a request", "200", asks(alice))
        await post("/api/v1/auth/logout", {}, alice)
        yield await _until("alice logs out; the same token", REVOKED, asks(alice))
        yield await _until("alice logs in again", "200", logs_in)
        fresh, unread = zervi.token("alice"), zervi.live.opaque_token("alice")
        yield await _until("alice requests the cluster's nodes", DENIED, asks(fresh, _NODES))
        await post("/demo/grant", {"username": "alice", "role": "admin"})
        yield await _until("Zervi grants alice a role; the same token", "200", asks(fresh, _NODES))
        yield await _until("bob sends a request", "200", asks(bob))
        yield await _until("bob, with an opaque token", "200", asks(opaque))
        await post("/demo/disable", {"username": "bob"})
        yield await _until("Zervi disables bob; the same token", REVOKED, asks(bob))
        yield await _until("bob, with the opaque token", REVOKED, asks(opaque))
        known = zervi.live.opaque_token("alice")
        yield await _until("alice, with an opaque token", "200", asks(known))
        zervi.down = True
        try:
            await _feed_fails(session, stack)
            await asyncio.sleep(TTL_SECONDS)  # the answers are old
            yield await _until(
                "Zervi is down; alice requests the nodes", "200", asks(fresh, _NODES)
            )
            yield await _until("alice, with the opaque token", "200", asks(known))
            yield await _until("alice, with a new opaque token", "503", asks(unread))
            yield await _until("bob, with the revoked token", REVOKED, asks(bob))
            yield await _until("alice, with the revoked token", REVOKED, asks(alice))
        finally:
            zervi.down = False
        await post("/demo/withdraw", {"username": "alice", "role": "admin"})
        yield await _until("Zervi is up and withdraws the role; alice", DENIED, asks(fresh, _NODES))


async def _answer(session: aiohttp.ClientSession, stack: Stack, path: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(stack.envoy.url + path, headers=headers) as answer:
        if answer.status in (200, 503):
            return str(answer.status)
        reason = str((await answer.json()).get("reason"))
        return reason.removeprefix("token_").removeprefix("permission_")


async def _feed_fails(session: aiohttp.ClientSession, stack: Stack) -> None:
    """Wait until the sidecar has noticed that the feed does not answer."""

    async def state() -> str:
        async with session.get(f"{stack.ops_url}/readyz") as answer:
            return str((await answer.json())["components"]["revocation"]["state"])

    await _until("", "degraded", state)


async def _until(event: str, wanted: str, ask: _Ask) -> Observed:
    loop = asyncio.get_running_loop()
    started = loop.time()
    known = await ask()
    while known != wanted and loop.time() - started < WAIT_SECONDS:
        await asyncio.sleep(PAUSE_SECONDS)
        known = await ask()
    return Observed(event, wanted, known, loop.time() - started)

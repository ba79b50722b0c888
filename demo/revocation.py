"""What the demo shows of revocation: a logout, a disabled user, and Zervi's death."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import aiohttp

from demo.registry import Observed
from demo.stack import Stack
from demo.zervi_revocations import REVOCATIONS_PATH

WAIT_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 0.05

REVOKED: Final = "revoked"  # a line has 80 columns


def configure(config: dict[str, Any]) -> None:
    """Let the sidecar follow Zervi's feed; each second, for a person who watches."""
    zervi = config["zervi"]
    base = zervi["issuers"][0]["jwks_url"].partition("/.well-known")[0]
    zervi["revocation"] = {
        "url": base + REVOCATIONS_PATH,
        "issuers": [issuer["issuer"] for issuer in zervi["issuers"]],
        "poll": "1s",
    }


async def run(stack: Stack) -> AsyncIterator[Observed]:
    """Cause the events, one after the other; each waits for what it changes."""
    zervi = stack.zervi
    async with aiohttp.ClientSession() as session:

        def asks(token: str) -> Callable[[], Awaitable[str]]:
            return lambda: _answer(session, stack, token)

        alice, bob = zervi.token("alice"), zervi.token("bob")
        yield await _until("alice asks with her token", "200", asks(alice))
        headers = {"Authorization": f"Bearer {alice}"}
        async with session.post(f"{zervi.url}/api/v1/auth/logout", headers=headers) as answer:
            answer.raise_for_status()
        yield await _until("alice logs out; the same token", REVOKED, asks(alice))
        yield await _until("alice logs in again", "200", _with_new_token(stack, asks))
        fresh = zervi.token("alice")
        yield await _until("bob asks with his token", "200", asks(bob))
        disabled = {"username": "bob"}
        async with session.post(f"{zervi.url}/demo/disable", json=disabled) as answer:
            answer.raise_for_status()
        yield await _until("bob is disabled; the same token", REVOKED, asks(bob))
        zervi.down = True
        try:
            await _feed_fails(session, stack)
            yield await _until("Zervi dies; alice", "200", asks(fresh))
            yield await _until("bob, whose token is revoked", REVOKED, asks(bob))
            yield await _until("alice's old token", REVOKED, asks(alice))
        finally:
            zervi.down = False


def _with_new_token(
    stack: Stack, asks: Callable[[str], Callable[[], Awaitable[str]]]
) -> Callable[[], Awaitable[str]]:
    """Return a call with a token of its own moment: one of the logout's second is revoked too."""
    return lambda: asks(stack.zervi.token("alice"))()


async def _answer(session: aiohttp.ClientSession, stack: Stack, token: str) -> str:
    url = stack.envoy.url + "/api/services/list"
    async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
        if answer.status == 200:
            return "200"
        return str((await answer.json()).get("reason")).removeprefix("token_")


async def _feed_fails(session: aiohttp.ClientSession, stack: Stack) -> None:
    """Wait until the sidecar has noticed that the feed does not answer."""

    async def state() -> str:
        async with session.get(f"{stack.ops_url}/readyz") as answer:
            return str((await answer.json())["components"]["revocation"]["state"])

    await _until("", "degraded", state)


async def _until(event: str, wanted: str, ask: Callable[[], Awaitable[str]]) -> Observed:
    loop = asyncio.get_running_loop()
    started = loop.time()
    known = await ask()
    while known != wanted and loop.time() - started < WAIT_SECONDS:
        await asyncio.sleep(PAUSE_SECONDS)
        known = await ask()
    return Observed(event, wanted, known, loop.time() - started)

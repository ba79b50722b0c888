"""What the demo shows of the console: who may see it, a user environment, and a recovery."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import aiohttp

from demo.console import RunningConsole
from demo.gateway import Gateway
from demo.registry import Observed
from demo.zervi import Zervi

SERVICE: Final = "basic-server-shared"
SERVERS: Final = ("server-7", "server-8")
WAIT_SECONDS: Final = 20.0
PAUSE_SECONDS: Final = 0.05


def configure(config: dict[str, Any]) -> None:
    """Let the console's environments have instances of SERVICE; it knows the demo's table."""
    config["environments"]["service_name"] = SERVICE
    config["policies"].append({"config": "../sidecar.yaml"})


class Browser:
    """Calls of a user's page to the console, through its Envoy and its sidecar."""

    def __init__(self, console: RunningConsole, session: aiohttp.ClientSession) -> None:
        self._url = console.url
        self._session = session

    async def call(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        headers = {"Authorization": f"Bearer {token}", "Origin": self._url}
        request = self._session.request(method, self._url + path, json=body, headers=headers)
        async with request as answer:
            return answer.status, await answer.json()


async def run(gateway: Gateway, zervi: Zervi, console: RunningConsole) -> AsyncIterator[Observed]:
    """Cause the events, one after the other; each waits for what it changes."""
    bob = zervi.token("bob")
    async with aiohttp.ClientSession() as session:
        browser = Browser(console, session)
        status, body = await browser.call("GET", "/api/overview", zervi.token("alice"))
        yield Observed("alice opens the console", "403 permission_denied", _word(status, body), 0)
        status, body = await browser.call("GET", "/api/overview", bob)
        yield Observed("bob, an admin, opens it", "200", _word(status, body), 0)

        for name in SERVERS:
            await gateway.start(name, SERVICE)
        wanted = {"username": "carol"}
        _, created = await browser.call("POST", "/api/environments", bob, wanted)
        path = f"/api/environments/{created['id']}"

        async def environment() -> str:
            _, found = await browser.call("GET", path, bob)
            return f"{found['state']}, {found['service_id'] or 'no server'}"

        first, second = SERVERS
        yield await _until("bob creates an environment", f"ready, {first}", environment)
        _, found = await browser.call("GET", path, bob)
        token = zervi.environment_token(found["user_id"])

        async def served() -> str:
            status, name = await gateway.ask_with(token)
            return name if status == 200 else str(status)

        yield await _until("carol sends a request", first, served)
        await gateway.kill(first)

        async def elsewhere() -> str:
            name = await served()
            is_another = name != first and not name.isdecimal()  # a number is a failure's status
            return "another server" if is_another else name

        yield await _until(f"{first} is killed; carol's request", "another server", elsewhere)
        await gateway.report(first, "critical")  # its sidecar still runs
        yield await _until("Looma assigns another server", f"ready, {second}", environment)
        yield await _until("carol sends a request", second, served)
        await gateway.leave(first)
        await browser.call("DELETE", path, bob)

        async def state() -> str:
            _, found = await browser.call("GET", path, bob)
            return str(found["state"])

        yield await _until("bob deletes the environment", "deleted", state)


def _word(status: int, body: Any) -> str:
    reason = body.get("reason", "")
    return f"{status} {reason}".rstrip()


async def _until(event: str, wanted: str, known: Callable[[], Awaitable[str]]) -> Observed:
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        found = await known()
        if found == wanted or loop.time() > started + WAIT_SECONDS:
            return Observed(event, wanted, found, loop.time() - started)
        await asyncio.sleep(PAUSE_SECONDS)

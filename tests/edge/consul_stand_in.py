"""A stand-in for a Consul agent, as its HTTP API is documented.

Registering a service: https://developer.hashicorp.com/consul/api-docs/agent/service; TTL checks:
https://developer.hashicorp.com/consul/api-docs/agent/check. It refuses what Consul refuses: a name
it does not know, a value of Meta that is too long, a check without a TTL, another token.

Reading: https://developer.hashicorp.com/consul/api-docs/catalog and .../health, each with blocking
queries as https://developer.hashicorp.com/consul/api-docs/features/blocking describes them.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable
from typing import Any, Literal

from aiohttp import web

SERVICE_KEYS = {"ID", "Name", "Address", "Port", "Tags", "Meta", "Check"}
CHECK_KEYS = {"CheckID", "Name", "TTL", "Status", "DeregisterCriticalServiceAfter"}
STATUSES = {"passing", "warning", "critical"}

Version = Literal["1.9", "1.20"]


class Consul:
    """One agent: its services by id, and its checks by check id."""

    def __init__(self, token: str | None, version: Version) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.checks: dict[str, dict[str, Any]] = {}
        self.updates: list[dict[str, Any]] = []
        self.url = ""
        self.index = 10  # of the last change
        self.asked: list[tuple[str, int]] = []  # paths of reading, with their index
        self.filtered = False
        self.hidden = False  # everything, from a client without a token
        self.broken = ""  # the name of a service that cannot be read
        self.instead: Any = ...  # what a service's answer is
        self._changed = asyncio.Event()
        self._token = token
        self._version = version
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.put("/v1/agent/service/register", self._register),
                web.put("/v1/agent/service/deregister/{id}", self._deregister),
                web.put("/v1/agent/check/update/{id}", self._update),
                web.put("/v1/agent/service/maintenance/{id}", self._maintain),
                web.get("/v1/catalog/services", self._catalog),
                web.get("/v1/health/service/{name}", self._health),
            ]
        )
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)

    async def start(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls).start()
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def forget(self) -> None:
        """Be an agent that was replaced by an empty one."""
        self.services.clear()
        self.checks.clear()
        self.index = 5
        self.change()

    def add(self, name: str, number: int, **fields: Any) -> None:
        """Add a service that another program registered, without checks."""
        found = {"ID": f"{name}-{number}", "Name": name, "Address": f"10.0.0.{number}", "Port": 80}
        self.services[f"{name}-{number}"] = {**found, **fields}
        self.change()

    def remove(self, service_id: str) -> None:
        del self.services[service_id]
        self.change()

    def change(self) -> None:
        """Answer every blocking query, as any write to what it reads does."""
        self.index += 1
        self._changed.set()
        self._changed = asyncio.Event()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self._token is not None and request.headers.get("X-Consul-Token") != self._token:
            return web.Response(status=403, text="Permission denied: lacks 'service:write'")
        response: web.StreamResponse = await handler(request)
        return response

    async def _register(self, request: web.Request) -> web.Response:
        service = await request.json()
        check = service["Check"]
        if unknown := (set(service) - SERVICE_KEYS) | (set(check) - CHECK_KEYS):
            return web.Response(status=400, text=f"Request decode failed: unknown {unknown}")
        if any(len(key) > 128 or len(value) > 512 for key, value in service["Meta"].items()):
            return web.Response(status=400, text="Invalid Service Meta: value is too long")
        if not check["TTL"].endswith("s") or float(check["TTL"][:-1]) <= 0:
            return web.Response(status=400, text="Invalid check: TTL must be > 0")
        assert check["Status"] in STATUSES
        self.services[service["ID"]] = service
        self.checks[check["CheckID"]] = {"Status": check["Status"], "Output": ""}
        self.change()
        return web.Response()

    async def _deregister(self, request: web.Request) -> web.Response:
        service_id = request.match_info["id"]
        if self.services.pop(service_id, None) is None:
            return web.Response(
                status=404,
                text=f'Unknown service ID "{service_id}". Ensure that the service ID is passed, '
                "not the service name.",
            )
        del self.checks[f"service:{service_id}"]
        self.change()
        return web.Response()

    async def _update(self, request: web.Request) -> web.Response:
        check_id = request.match_info["id"]
        update = await request.json()
        if update["Status"] not in STATUSES:
            return web.Response(status=400, text="Invalid check status")
        if check_id not in self.checks:
            if self._version == "1.9":
                text = f'CheckID "{check_id}" does not have associated TTL'
                return web.Response(status=500, text=text)
            text = f'Unknown check ID "{check_id}". Ensure that the check ID is passed.'
            return web.Response(status=404, text=text)
        self.checks[check_id] = update
        self.updates.append(update)
        self.change()
        return web.Response()

    async def _maintain(self, request: web.Request) -> web.Response:
        check_id = f"_service_maintenance:{request.match_info['id']}"
        if request.query["enable"] == "true":
            self.checks[check_id] = {"Status": "critical", "Output": ""}
        else:
            self.checks.pop(check_id, None)
        self.change()
        return web.Response()

    async def _catalog(self, request: web.Request) -> web.Response:
        return await self._blocking(
            request,
            lambda: {each["Name"]: each.get("Tags", []) for each in self.services.values()},
        )

    async def _health(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]

        def content() -> Any:
            if self.instead is not ...:
                return self.instead
            found = [each for each in self.services.values() if each["Name"] == name]
            return [self._instance(each) for each in found]

        response = await self._blocking(request, content)
        return web.Response(status=500, text="rpc error") if name == self.broken else response

    async def _blocking(self, request: web.Request, content: Callable[[], Any]) -> web.Response:
        index = int(request.query.get("index", "0"))
        self.asked.append((request.path, index))
        if index > 0 and index >= self.index:
            wait = float(request.query["wait"].removesuffix("s"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait * random.uniform(1, 17 / 16)):
                    await self._changed.wait()
        headers = {"X-Consul-Index": str(self.index), "X-Consul-KnownLeader": "true"}
        if self.filtered:
            headers["X-Consul-Results-Filtered-By-ACLs"] = "true"
        if self.hidden:  # Consul does not call that filtered
            headers["X-Consul-Default-ACL-Policy"] = "deny"
            return web.json_response({}, headers=headers)
        return web.json_response(content(), headers=headers)

    def _instance(self, service: dict[str, Any]) -> dict[str, Any]:
        node = service.get("Node", "n1")
        own = (f"service:{service['ID']}", f"_service_maintenance:{service['ID']}")
        checks = [{"Node": node, "CheckID": "serfHealth", "Status": "passing", "ServiceID": ""}]
        checks += [
            {"Node": node, "CheckID": name, "ServiceID": service["ID"], **self.checks[name]}
            for name in own
            if name in self.checks
        ]
        return {
            "Node": {"Node": node, "Address": "10.9.9.9"},
            "Service": {
                "ID": service["ID"],
                "Kind": service.get("Kind", ""),
                "Service": service["Name"],
                "Address": service["Address"],
                "Port": service["Port"],
                "Tags": service.get("Tags", []),
                "Meta": service.get("Meta", {}),
            },
            "Checks": checks,
        }

"""A stand-in for a Consul agent, as its HTTP API is documented.

Registering a service: https://developer.hashicorp.com/consul/api-docs/agent/service; TTL checks:
https://developer.hashicorp.com/consul/api-docs/agent/check. It refuses what Consul refuses: a name
it does not know, a value of Meta that is too long, a check without a TTL, another token.
"""

import ssl
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
        self._token = token
        self._version = version
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.put("/v1/agent/service/register", self._register),
                web.put("/v1/agent/service/deregister/{id}", self._deregister),
                web.put("/v1/agent/check/update/{id}", self._update),
            ]
        )
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def forget(self) -> None:
        """Be an agent that was replaced by an empty one."""
        self.services.clear()
        self.checks.clear()

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
        return web.Response()

"""A stand-in for Looma's cluster API, as ``docs/looma-registry.openapi.yaml`` describes it.

It keeps nodes in memory, forgets those that are silent for a TTL, can demand a service token, and
can fail on request in the ways in which a registry fails.
"""

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args

import jwt
from aiohttp import web

from demo.environments import LoomaAllocations
from demo.looma_directory import member, tagged
from demo.looma_failures import Failure, fail, problem

REMEMBERED_REQUESTS = 1000  # enough for any test, and a demo may run for a day
NEEDED_PERMISSION = "service:register"
TOMBSTONE_SECONDS = 60.0  # a node that left is listed as draining for so long


class SeenRequest(NamedTuple):
    """One request as it came.

    ``body`` is None if it is not JSON; ``at`` is the event loop's clock in seconds.
    """

    operation: str
    path: str
    body: Any
    authorization: str | None
    at: float


@dataclass
class LoomaNode:
    """One node: its registration, its last heartbeat, and the time of that."""

    service_id: str
    registration: dict[str, Any]
    status: str
    health_status: str
    last_heartbeat: datetime
    heard_at: float
    report: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the node as Looma's table has it, with its last report."""
        return {
            **self.registration,
            "status": self.status,
            "health_status": self.health_status,
            "last_heartbeat": self.last_heartbeat.isoformat(timespec="milliseconds"),
            "report": self.report,
        }


class Looma:
    """The running stand-in; made by ``start_looma``."""

    def __init__(
        self,
        *,
        ttl: float,
        cleanup: float,
        heartbeat_interval: float | None,
        poll: float | None,
        token_secret: str | None,
    ) -> None:
        self.url = ""
        self.nodes: dict[str, LoomaNode] = {}
        self.left: dict[str, tuple[float, dict[str, Any]]] = {}  # members, until when
        self.allocations: dict[tuple[str, str], dict[str, Any]] = {}  # by user and service
        self.environments = LoomaAllocations(self._usable, self.allocations)
        self.requests: deque[SeenRequest] = deque(maxlen=REMEMBERED_REQUESTS)
        self._ttl = ttl
        self._cleanup = cleanup
        self._heartbeat_interval = heartbeat_interval
        self._poll = poll
        self._token_secret = token_secret
        self._failures: deque[Failure] = deque()
        self._changed = asyncio.Condition()
        self._runner = web.AppRunner(
            self._application(), handler_cancellation=True, shutdown_timeout=0.1
        )
        self._cleaner: asyncio.Task[None] | None = None

    def fail(self, mode: Failure, count: int = 1) -> None:
        """Let the next ``count`` requests of nodes fail in this way; 0 ends all failures."""
        self._failures = deque([mode] * count)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true; it is checked after each request and clean-up."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def start(self, host: str, port: int) -> None:
        """Listen; ``port`` 0 takes a free one."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        self._cleaner = asyncio.create_task(self._forget_the_silent(), name="looma-cleanup")

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._cleaner is not None:
            self._cleaner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._cleaner
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=64 * 1024)
        application.add_routes(
            [
                web.post("/cluster/register", self._for_nodes("register")),
                web.post("/cluster/heartbeat/{service_id}", self._for_nodes("heartbeat")),
                web.delete("/cluster/deregister/{service_id}", self._for_nodes("deregister")),
                web.post("/cluster/metrics/{service_id}", self._for_nodes("metrics")),
                web.get("/cluster/metrics/{service_id}", self._metrics),
                web.get("/cluster/services", self._services),
                web.get("/cluster/status", self._status),
                web.get("/cluster/allocations", self._allocated),
                web.post("/cluster/allocations", self._allocate),
                *self.environments.routes(),
                web.post("/demo/fail", self._fail),
            ]
        )
        return application

    def _for_nodes(self, operation: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            try:
                body = json.loads(raw) if raw else {}
            except ValueError:
                body = None
            authorization = request.headers.get("Authorization")
            now = asyncio.get_running_loop().time()
            self.requests.append(SeenRequest(operation, request.path, body, authorization, now))
            try:
                if self._failures:
                    return await fail(self._failures.popleft(), request)
                refusal = self._refusal(authorization)
                if refusal is not None:
                    return refusal
                if not isinstance(body, dict):
                    return problem(400, "BAD_REQUEST", "the body is not a JSON object")
                if operation == "register":
                    return self._register(body)
                return self._hear(operation, request.match_info["service_id"], body)
            finally:
                await self._announce()

        return handler

    def _refusal(self, authorization: str | None) -> web.Response | None:
        if self._token_secret is None:
            return None
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return problem(401, "AUTH_REQUIRED", "a service token is required")
        try:
            claims = jwt.decode(
                token, self._token_secret, algorithms=["HS256"], options={"verify_aud": False}
            )
        except jwt.InvalidTokenError:
            return problem(401, "INVALID_TOKEN", "the service token is not valid")
        granted = [*_strings(claims.get("permissions")), *_strings(claims.get("allowed_apis"))]
        if NEEDED_PERMISSION not in granted and "*" not in granted:
            return problem(403, "INSUFFICIENT_PERMISSIONS", f"needs permission {NEEDED_PERMISSION}")
        return None

    def _register(self, body: dict[str, Any]) -> web.Response:
        service_id = body.get("service_id")
        if not isinstance(service_id, str):
            return problem(400, "BAD_REQUEST", "service_id is missing")
        self.nodes[service_id] = LoomaNode(
            service_id,
            body,
            "registered",
            str(body.get("health_status", "unknown")),
            datetime.now(UTC),
            asyncio.get_running_loop().time(),
        )
        answer = {"success": True, "service_id": service_id, **self._pace()}
        return web.json_response(answer, status=201)

    def _hear(self, operation: str, service_id: str, body: dict[str, Any]) -> web.Response:
        node = self.nodes.get(service_id)
        if node is None:
            return problem(404, "UNKNOWN_INSTANCE", "unknown instance")
        if operation == "deregister":
            del self.nodes[service_id]
            gone = member(node.as_json(), ready=False, draining=True)
            self.left[service_id] = node.heard_at + TOMBSTONE_SECONDS, gone
            return web.json_response({"success": True})
        if operation == "metrics":
            node.metrics = body
            return web.json_response({"success": True})
        node.report = body
        node.status = str(body.get("status", "active"))
        node.health_status = str(body.get("health_status", "unknown"))
        node.last_heartbeat = datetime.now(UTC)
        node.heard_at = asyncio.get_running_loop().time()
        return web.json_response({"success": True, **self._pace()})

    async def _metrics(self, request: web.Request) -> web.Response:
        node = self.nodes.get(request.match_info["service_id"])
        if node is None:
            return problem(404, "UNKNOWN_INSTANCE", "unknown instance")
        return web.json_response(node.metrics)

    async def _services(self, request: web.Request) -> web.Response:
        if request.query.get("view") == "membership":
            listing: dict[str, Any] = {"services": self._members(), "complete": True}
            if self._poll is not None:
                listing["poll_seconds"] = self._poll
            return tagged(request, listing)
        services = [node.as_json() for node in self.nodes.values()]
        return web.json_response({"services": services, "total": len(services)})

    async def _status(self, _request: web.Request) -> web.Response:
        nodes = self.nodes.values()

        def reported(name: str) -> Counter[str]:
            return Counter(str(node.report.get(name, "unknown")) for node in nodes)

        return web.json_response(
            {
                "total": len(nodes),
                "status": Counter(node.status for node in nodes),
                "health_status": Counter(node.health_status for node in nodes),
                "policy_digest": reported("policy_digest"),
                "sidecar_version": reported("sidecar_version"),
            }
        )

    def _members(self) -> list[dict[str, Any]]:
        now = asyncio.get_running_loop().time()
        self.left = {
            name: left
            for name, left in self.left.items()
            if left[0] > now and name not in self.nodes
        }
        listed = [
            member(node.as_json(), ready=node.report.get("ready") is not False, draining=False)
            for node in self.nodes.values()
        ]
        return listed + [each for _, each in self.left.values()]

    def _usable(self, service_name: str, labels: dict[str, str]) -> list[str]:
        """Return the instances of a service that have these labels and are healthy."""
        return [
            node.service_id
            for node in self.nodes.values()
            if node.registration.get("service_name") == service_name
            and node.health_status == "healthy"
            and labels.items() <= node.registration.get("labels", {}).items()
        ]

    async def _allocated(self, request: web.Request) -> web.Response:
        return tagged(request, {"allocations": list(self.allocations.values())})

    async def _allocate(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not isinstance(body, dict) or not {"user_id", "service_name"} <= body.keys():
            return problem(400, "BAD_REQUEST", "user_id and service_name are required")
        self.allocations[str(body["user_id"]), str(body["service_name"])] = body
        return web.json_response({"success": True}, status=201)

    async def _fail(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            mode, count = body["mode"], int(body.get("count", 1))
        except (ValueError, KeyError, TypeError, AttributeError):
            return problem(400, "BAD_REQUEST", "the body must be {mode, count}")
        if mode not in get_args(Failure) or not 0 <= count <= REMEMBERED_REQUESTS:
            return problem(400, "BAD_REQUEST", f"mode is one of {', '.join(get_args(Failure))}")
        self.fail(mode, count)
        return web.json_response({"success": True})

    def _pace(self) -> dict[str, float]:
        pace = {"ttl_seconds": self._ttl}
        if self._heartbeat_interval is not None:
            pace["heartbeat_interval_seconds"] = self._heartbeat_interval
        return pace

    async def _forget_the_silent(self) -> None:
        while True:
            await asyncio.sleep(self._cleanup)
            oldest = asyncio.get_running_loop().time() - self._ttl
            for service_id in [key for key, node in self.nodes.items() if node.heard_at < oldest]:
                del self.nodes[service_id]
            await self._announce()

    async def _announce(self) -> None:
        self.environments.reallocate()
        async with self._changed:
            self._changed.notify_all()


async def start_looma(
    port: int,
    host: str = "127.0.0.1",
    *,
    ttl: float = 300.0,
    cleanup: float | None = None,
    heartbeat_interval: float | None = None,
    poll: float | None = None,
    token_secret: str | None = None,
) -> Looma:
    """Start the stand-in; times are seconds, and a ``port`` of 0 takes a free one.

    With ``token_secret`` it demands an HS256 service token with the permission
    ``service:register``. It looks for nodes to forget every ``cleanup`` seconds (default: a tenth
    of the TTL), and tells nodes the ``heartbeat_interval`` and gateways the time between
    polls where they are given.
    """
    looma = Looma(
        ttl=ttl,
        cleanup=ttl / 10 if cleanup is None else cleanup,
        heartbeat_interval=heartbeat_interval,
        poll=poll,
        token_secret=token_secret,
    )
    await looma.start(host, port)
    return looma


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

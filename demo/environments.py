"""What Zervi and Looma do for user environments, in their stand-ins, with failures on request.

docs/zervi-environments.openapi.yaml and docs/looma-environments.openapi.yaml are the contracts.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from aiohttp import web

from demo import minting
from demo.looma_failures import problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Problem = Callable[[int], web.Response]

Failure = Literal["before", "after", "hang-before", "hang-after", "refuse"]
"""503 before or after the work is done, no answer before or after it, or a refusal for good."""


class Allocated(NamedTuple):
    """An instance that is assigned under a key."""

    user_id: str
    service_name: str
    service_id: str
    requirements: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the body of the contract."""
        return self._asdict()


class Failures:
    """How the next calls of each operation fail; ``waiting`` is set while one hangs."""

    def __init__(self) -> None:
        self._next: dict[str, deque[Failure]] = {}
        self.waiting = asyncio.Event()

    def fail(self, operation: str, modes: Iterable[Failure]) -> None:
        """Let the next calls of an operation, such as ``createUser``, fail in these ways."""
        self._next[operation] = deque(modes)
        self.waiting.clear()

    def around(self, operation: str, handler: Handler, problem: Problem) -> Handler:
        """Return the handler with failures; ``problem`` makes an error of a status."""

        async def failing(request: web.Request) -> web.StreamResponse:
            modes = self._next.get(operation)
            mode = modes.popleft() if modes else ""
            if mode == "refuse":
                return problem(422)
            if mode == "before":
                return problem(503)
            if mode == "hang-before":
                await self._hang()
            response = await handler(request)
            if mode == "hang-after":
                await self._hang()
            return (
                _problem(503, "fails on request, after the work") if mode == "after" else response
            )

        return failing

    async def _hang(self) -> None:
        self.waiting.set()
        await asyncio.Event().wait()  # until the client is gone, which cancels this


class ZerviUsers:
    """Users and grants that were made under keys."""

    def __init__(self, failures: Failures | None = None) -> None:
        self.failures = failures or Failures()
        self.users: dict[str, dict[str, str]] = {}  # by key
        self.grants: dict[str, tuple[str, list[str]]] = {}  # by key
        self._deleted: set[str] = set()
        self._numbers = iter(range(1001, 10**9))

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the contract, except the logout, which Zervi has already."""
        around = self.failures.around
        return (
            web.put("/api/users/by-key/{key}", around("createUser", self._create, _failed)),
            web.delete("/api/users/by-key/{key}", around("deleteUser", self._delete, _failed)),
            web.put("/api/users/{user_id}/grants/{key}", around("grant", self._grant, _failed)),
            web.delete(
                "/api/users/{user_id}/grants/{key}", around("withdraw", self._withdraw, _failed)
            ),
        )

    def around(self, operation: str, handler: Handler) -> Handler:
        """Return a handler of Zervi's that can fail on request."""
        return self.failures.around(operation, handler, _failed)

    def account(self, user_id: str) -> minting.User | None:
        """Return a user who was made under a key, None for another one."""
        for each in self.users.values():
            if each["user_id"] == user_id:
                granted = tuple(self.permissions_of(user_id))
                return minting.User(int(user_id), each["username"], "user", 1, granted)
        return None

    def permissions_of(self, user_id: str) -> list[str]:
        """Return what is granted to a user."""
        return [
            each for user, granted in self.grants.values() if user == user_id for each in granted
        ]

    async def _create(self, request: web.Request) -> web.Response:
        key, body = request.match_info["key"], await request.json()
        if key in self._deleted:
            return _problem(410, "the key was deleted")
        if key not in self.users:
            if any(each["username"] == body["username"] for each in self.users.values()):
                return _problem(409, "another user has this username")
            self.users[key] = {
                "user_id": str(next(self._numbers)),
                "username": body["username"],
                "email": body.get("email", ""),
            }
        return web.json_response({"code": 0, "message": "ok", "data": self.users[key]})

    async def _delete(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        self.users.pop(key, None)
        self._deleted.add(key)
        return web.Response(status=204)

    async def _grant(self, request: web.Request) -> web.Response:
        key, body = request.match_info["key"], await request.json()
        if key in self._deleted:
            return _problem(410, "the key was deleted")
        user_id = request.match_info["user_id"]
        if user_id not in {each["user_id"] for each in self.users.values()}:
            return _problem(404, "no such user")
        self.grants[key] = user_id, body["permissions"]
        return web.json_response({"code": 0, "message": "ok"})

    async def _withdraw(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        self.grants.pop(key, None)
        self._deleted.add(key)
        return web.Response(status=204)


class LoomaAllocations:
    """Instances that are assigned under keys.

    ``choose`` returns the instances that may serve, of a service and with labels. ``listed`` is
    what gateways read, by user and service.
    """

    def __init__(
        self,
        choose: Callable[[str, dict[str, str]], Sequence[str]],
        listed: dict[tuple[str, str], dict[str, Any]],
        failures: Failures | None = None,
    ) -> None:
        self.failures = failures or Failures()
        self.allocated: dict[str, Allocated] = {}
        self._choose = choose
        self._listed = listed
        self._deleted: set[str] = set()

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the contract."""
        around = self.failures.around
        return (
            web.put("/cluster/allocations/{key}", around("allocate", self._put, _refused)),
            web.get("/cluster/allocations/{key}", self._get, allow_head=False),
            web.delete("/cluster/allocations/{key}", around("release", self._delete, _refused)),
        )

    def reallocate(self) -> None:
        """Assign another instance where the assigned one cannot serve any more."""
        for key, each in self.allocated.items():
            usable = self._choose(each.service_name, each.requirements)
            if usable and each.service_id not in usable:
                self._assign(key, each._replace(service_id=usable[0]))

    def _assign(self, key: str, allocated: Allocated) -> None:
        self.allocated[key] = allocated
        self._listed[allocated.user_id, allocated.service_name] = allocated.as_json()

    async def _put(self, request: web.Request) -> web.Response:
        key, body = request.match_info["key"], await request.json()
        if key in self._deleted:
            return problem(410, "KEY_DELETED", "the key was deleted")
        if key not in self.allocated:
            requirements = dict(body.get("requirements", {}))
            usable = self._choose(body["service_name"], requirements)
            if not usable:
                return problem(409, "NO_INSTANCE", "no instance has these labels")
            user, service = body["user_id"], body["service_name"]
            self._assign(key, Allocated(user, service, usable[0], requirements))
        return web.json_response(self.allocated[key].as_json())

    async def _get(self, request: web.Request) -> web.Response:
        found = self.allocated.get(request.match_info["key"])
        return (
            problem(404, "UNKNOWN_KEY", "nothing is assigned")
            if found is None
            else web.json_response(found.as_json())
        )

    async def _delete(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        ended = self.allocated.pop(key, None)
        if ended is not None:
            self._listed.pop((ended.user_id, ended.service_name), None)
        self._deleted.add(key)
        return web.Response(status=204)


def _problem(status: int, message: str) -> web.Response:
    """Return an error in Zervi's format."""
    return web.json_response({"code": status, "message": message}, status=status)


def _failed(status: int) -> web.Response:
    return _problem(status, "fails on request")


def _refused(status: int) -> web.Response:
    return problem(status, "FAILS", "fails on request")

"""``/api/environments``: create, show and delete user environments."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from sidecar.console.answers import answer, body_of, fail
from sidecar.console.caller import Caller
from sidecar.console.environments.model import BACK, FORTH, Environment, State, Wanted
from sidecar.console.environments.saga import Saga
from sidecar.console.environments.store import FullError, Store, StoreError
from sidecar.console.guard import Guard
from sidecar.console.shared import Shared
from sidecar.console.shown import text
from sidecar.net.clock import rfc3339

Allocations = Shared[dict[str, list[tuple[str, str]]]]

PAGE: Final = 50  # environments of one answer

MAX_REQUIREMENTS: Final = 32  # labels, as an instance has at most
_USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_EMAIL: Final = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,189}")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
_KEYS: Final = frozenset({"username", "email", "requirements"})


class EnvironmentsApi:
    """Handlers over the environments of one console.

    ``allocations`` is what Looma has assigned, by user: it may replace an instance that is gone.
    """

    def __init__(
        self, store: Store, saga: Saga, service_name: str, allocations: Allocations
    ) -> None:
        self._store = store
        self._saga = saga
        self._service_name = service_name
        self._allocations = allocations

    def routes(self, guard: Guard) -> Iterable[web.RouteDef]:
        """Return the routes."""
        create = guard.change("environment.create", self.create)
        delete = guard.change("environment.delete", self.delete)
        yield web.get("/api/environments", guard.known(self.listed))
        yield web.post("/api/environments", create)
        yield web.get("/api/environments/{id}", guard.known(self.one))
        yield web.delete("/api/environments/{id}", delete)

    async def create(self, request: web.Request, caller: Caller) -> web.Response:
        """Begin an environment: 202; 200 where the same one exists, 409 for another of the user.

        Raises ProblemError.
        """
        wanted = wanted_of(await body_of(request))
        try:
            created = await self._saga.create(wanted, caller.subject)
        except FullError:
            fail(409, "TOO_MANY", "there are as many environments as the console can hold")
        except StoreError as error:
            fail(503, "NOT_STORED", str(error))
        found = created.environment
        request.match_info["id"] = found.id  # for the audit line
        if not created.is_new and found.state is State.DELETING:
            fail(409, "BEING_DELETED", "the user's environment is being deleted; try again later")
        if not created.is_new and found.wanted != wanted:
            fail(409, "EXISTS", "the user has an environment that was created with other values")
        response = answer(as_json(found), 202 if created.is_new else 200)
        response.headers["Location"] = f"/api/environments/{found.id}"
        return response

    async def listed(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return the environments that changed last; ``before`` is a time of an earlier answer."""
        return answer(await self.page(request.query.get("before", "")))

    async def one(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return one environment with its steps. Raises ProblemError."""
        found = await self._store.get(request.match_info["id"])
        if found is None:
            fail(404, "NO_ENVIRONMENT", "there is no such environment")
        return answer(as_json(await self._now(found)))

    async def delete(self, request: web.Request, _caller: Caller) -> web.Response:
        """Begin to delete an environment: 202. Raises ProblemError."""
        try:
            found = await self._saga.delete(request.match_info["id"])
        except StoreError as error:
            fail(503, "NOT_STORED", str(error))
        if found is None:
            fail(404, "NO_ENVIRONMENT", "there is no such environment")
        return answer(as_json(found), 202)

    async def page(self, before: str) -> dict[str, Any]:
        """Return one page of environments. Raises ProblemError."""
        try:
            until = float(before) if before else float("inf")
        except ValueError:
            fail(400, "BAD_REQUEST", "`before` must be a time in seconds")
        found = await self._store.newest(PAGE, until)
        more = found[-1].changed_at if len(found) == PAGE else None
        shown = [as_json(await self._now(each)) for each in found]
        return {"environments": shown, "before": more}

    async def _now(self, environment: Environment) -> Environment:
        """Return an environment with the instance that Looma assigns to the user now."""
        if environment.state is not State.READY:
            return environment
        assigned = (await self._allocations.get()).value or {}
        for service, instance in assigned.get(environment.user_id, ()):
            if service == self._service_name and instance:
                return environment._replace(service_id=instance)
        return environment


def wanted_of(body: Mapping[str, Any]) -> Wanted:
    """Return what a request asks for. Raises ProblemError."""
    if odd := sorted(body.keys() - _KEYS):
        fail(400, "BAD_REQUEST", f"unknown: {text(', '.join(odd), 200)}")
    username, email = body.get("username"), body.get("email", "")
    if not isinstance(username, str) or not _USERNAME.fullmatch(username):
        fail(400, "BAD_REQUEST", "`username` must be up to 64 letters, digits and . _ @ -")
    if not isinstance(email, str) or (email and not _EMAIL.fullmatch(email)):
        fail(400, "BAD_REQUEST", "`email` must be an e-mail address")
    requirements = body.get("requirements", {})
    if (
        not isinstance(requirements, dict)
        or len(requirements) > MAX_REQUIREMENTS
        or not all(map(_LABEL.fullmatch, requirements))
        or not all(isinstance(each, str) and 0 < len(each) <= 256 for each in requirements.values())
        or not all(each.isprintable() for each in requirements.values())
    ):
        fail(400, "BAD_REQUEST", "`requirements` must be labels: names with texts")
    return Wanted(username, email, requirements)


def as_json(environment: Environment) -> dict[str, Any]:
    """Return an environment for a client; its steps are in the order in which they are taken."""
    back = environment.state not in (State.CREATING, State.READY)
    return {
        "id": environment.id,
        "username": environment.wanted.username,
        "email": environment.wanted.email,
        "requirements": dict(environment.wanted.requirements),
        "state": environment.state,
        "user_id": environment.user_id or None,
        "service_id": environment.service_id or None,
        "error": environment.error or None,
        "created_by": environment.created_by,
        "created_at": rfc3339(environment.created_at, "milliseconds"),
        "changed_at": rfc3339(environment.changed_at, "milliseconds"),
        "steps": [
            {
                "step": step,
                "state": environment.progress(step).state,
                "tries": environment.progress(step).tries,
                "error": environment.progress(step).error or None,
            }
            for step in (BACK if back else FORTH)
        ],
    }

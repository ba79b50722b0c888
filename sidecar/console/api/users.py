"""``/api/users``: who a user is, how their part of the cluster is, what they may do."""

import asyncio
from typing import Any, Final

from aiohttp import web

from sidecar.console.answers import answer, fail
from sidecar.console.api.policies import PoliciesApi
from sidecar.console.caller import Caller
from sidecar.console.fleet.cluster import Cluster
from sidecar.console.fleet.nodes import as_json
from sidecar.console.people.health import instance_state, of_metrics, overall_health
from sidecar.console.people.zervi import User, Zervi
from sidecar.console.policies.may import Question, QuestionError, ask
from sidecar.console.remote import RemoteError
from sidecar.console.shown import name as shown_name

MAX_WORDS: Final = 100  # characters of a search
MAX_INSTANCES: Final = 50  # of one user: an allocation may name a whole service


class UsersApi:
    """Handlers over Zervi, the allocations of the registry, and the policies."""

    def __init__(
        self, zervi: Zervi, cluster: Cluster, policies: PoliciesApi, silent: float
    ) -> None:
        self._zervi = zervi
        self._cluster = cluster
        self._policies = policies
        self._silent = silent

    async def user(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return a user with roles and permissions."""
        return answer(await self.profile(request.match_info["id"]))

    async def users(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return the users that a text finds."""
        return answer({"users": await self.found(request.query.get("q", ""))})

    async def metrics(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return how a user's part of the cluster is."""
        return answer(await self.metrics_of(request.match_info["id"]))

    async def may(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return the decision on a request of a user."""
        query = request.query
        return answer(await self.may_they(request.match_info["id"], query))

    async def log_out(self, request: web.Request, _caller: Caller) -> web.Response:
        """Revoke every token of a user that was issued before now."""
        await self._zervi.log_out_everywhere(request.match_info["id"])
        return answer({"logged_out": True})

    async def found(self, words: str) -> list[dict[str, Any]]:
        """Return the users whose name or address has a text. Raises ProblemError, RemoteError."""
        if not 0 < len(words) <= MAX_WORDS:
            fail(400, "BAD_REQUEST", f"q has 1 to {MAX_WORDS} characters")
        return [_as_json(user) for user in await self._zervi.find(words)]

    async def profile(self, id_: str) -> dict[str, Any]:
        """Return ``GET /api/users/{id}``. Raises NoUserError or RemoteError."""
        user, permissions = await asyncio.gather(
            self._zervi.user(id_), self._zervi.permissions(id_)
        )
        return {**_as_json(user), "permissions": permissions}

    async def metrics_of(self, id_: str) -> dict[str, Any]:
        """Return ``GET /api/users/{id}/metrics``. Raises NoUserError."""
        instances, known = await self._instances(id_)
        status: str | None = None
        metrics: dict[str, Any] | None = None
        try:
            user = await self._zervi.user(id_)
            status = user.status
            metrics = await self._zervi.auth_metrics(id_)
        except RemoteError:
            pass
        states = [each["state"] for each in instances] if known else None
        return {
            "cluster_metrics": {"known": known, "instances": instances},
            "auth_metrics": None if status is None else {"status": status, **(metrics or {})},
            "overall_health": overall_health(states, status, of_metrics(metrics)),
        }

    async def may_they(self, id_: str, query: Any) -> dict[str, Any]:
        """Return ``GET /api/users/{id}/may``. Raises NoUserError, RemoteError or ProblemError."""
        try:
            question = Question(
                query.get("method", "GET"),
                query.get("host", "") or "localhost",
                query.get("path", ""),
                query.get("issuer", ""),
            )
            table = await self._policies.table(query.get("policy", ""))
            user = await self.profile(id_)
            return await asyncio.to_thread(ask, table, question, user)
        except QuestionError as error:
            fail(400, "BAD_REQUEST", str(error))

    async def _instances(self, id_: str) -> tuple[list[dict[str, Any]], bool]:
        """Return a user's assigned instances, and whether the registry has answered."""
        allocations, nodes = await asyncio.gather(
            self._cluster.allocations.get(), self._cluster.nodes.get()
        )
        if allocations.value is None or nodes.value is None:
            return [], False
        now = self._cluster.clock()
        fleet = nodes.value.fleet
        found = []
        for service, node_id in allocations.value.get(shown_name(id_), ()):
            chosen = (
                [node_id]
                if node_id
                else [each.id for each in fleet.nodes.values() if each.service == service]
            )
            for each in chosen[:MAX_INSTANCES]:
                node = fleet.nodes.get(each)
                found.append(
                    {
                        "service": service,
                        "id": each,
                        "state": instance_state(node, now, self._silent),
                        "node": None if node is None else as_json(node, now),
                    }
                )
        return found, True


def _as_json(user: User) -> dict[str, Any]:
    return {**user._asdict(), "roles": list(user.roles)}

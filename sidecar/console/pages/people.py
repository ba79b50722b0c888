"""The pages of users and policies."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiohttp import web

from sidecar.console.answers import ProblemError
from sidecar.console.api.policies import PoliciesApi
from sidecar.console.api.users import UsersApi
from sidecar.console.caller import Caller
from sidecar.console.guard import Guard
from sidecar.console.pages.render import page
from sidecar.console.people.zervi import NoUserError

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class PeopleViews:
    """Handlers of pages; ``users`` and ``policies`` have their data."""

    def __init__(self, users: UsersApi, policies: PoliciesApi) -> None:
        self._users = users
        self._policies = policies

    def routes(self, guard: Guard) -> Iterable[web.RouteDef]:
        """Return the routes of these pages."""
        yield web.get("/view/users", guard.known(self.users))
        yield web.get("/view/users/{id}", guard.known(self.user))
        yield web.get("/view/policies", guard.known(self.policies))
        yield web.get("/view/policies/{digest}", guard.known(self.policy))

    async def users(self, request: web.Request, _caller: Caller) -> web.Response:
        """Show the users that a text finds; an id that is one finds its user too."""
        words = request.query.get("q", "").strip()
        found: list[dict[str, Any]] = []
        if words:
            found = await self._users.found(words)
            if not any(user["id"] == words for user in found):
                with suppress(NoUserError):
                    found.insert(0, await self._users.profile(words))
        return page(request, "users.html", words=words, found=found)

    async def user(self, request: web.Request, caller: Caller) -> web.Response:
        """Show one user, and the answer to "may they do this?" where the query asks."""
        id_, query = request.match_info["id"], request.query
        user = await self._users.profile(id_)
        verdict, refused = None, ""
        if query.get("path"):
            try:
                verdict = await self._users.may_they(id_, query)
            except ProblemError as error:
                refused = str(error)
        return page(
            request,
            "user.html",
            user=user,
            metrics=await self._users.metrics_of(id_),
            tables=sorted(
                (await self._policies.known()).by_digest.values(),
                key=lambda table: (not table.current, table.name),
            ),
            asked={name: query.get(name, "") for name in ("method", "host", "path", "policy")},
            verdict=verdict,
            refused=refused,
            methods=METHODS,
            may_manage=caller.may_manage,
        )

    async def policies(self, request: web.Request, _caller: Caller) -> web.Response:
        """Show every policy that is known or runs."""
        return page(request, "policies.html", policies=await self._policies.listing())

    async def policy(self, request: web.Request, _caller: Caller) -> web.Response:
        """Show one policy, and how it differs from another where the query names one."""
        other = request.query.get("from", "")
        policy = await self._policies.one(request.match_info["digest"], other)
        others = [
            each
            for each in (await self._policies.listing())["policies"]
            if each["known"] and each["digest"] != policy["digest"]
        ]
        return page(request, "policy.html", policy=policy, others=others, other=other)

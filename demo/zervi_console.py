"""What the console asks Zervi, as ``docs/zervi-console.openapi.yaml`` describes it."""

import time
from collections import deque
from typing import Any

from aiohttp import web

from demo import minting
from demo.environments import ZerviUsers
from demo.zervi_revocations import RevocationFeed

KEPT_EVENTS = 200
RECENT_SECONDS = 3600.0


class ConsoleApi:
    """Users, their logins, and what happened last; ``disabled`` are ids of users."""

    def __init__(self, others: ZerviUsers, feed: RevocationFeed) -> None:
        self._others = others
        self._feed = feed
        self.events: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self.disabled: set[str] = set()

    @property
    def revoked_before(self) -> dict[str, int]:
        """The time before which each user's tokens are revoked, by whichever way."""
        return self._feed.not_before

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/users", self._users),
            web.get("/api/users/{id}", self._user),
            web.get("/api/users/{id}/auth-metrics", self._metrics),
            web.post("/api/users/{id}/logout", self._others.around("revokeTokens", self._log_out)),
            web.get("/api/auth/statistics", self._statistics),
            web.get("/api/auth/activity", self._activity),
        ]

    def note(self, username: str, event: str) -> None:
        """Remember an event of a user, who may be unknown."""
        user = minting.USERS.get(username)
        entry = {
            "at": time.time(),
            "user_id": None if user is None else user.user_id,
            "username": username[:64],
            "event": event,
        }
        self.events.appendleft(entry)

    async def _users(self, request: web.Request) -> web.Response:
        words = request.query.get("q", "").lower()
        found = [
            self._as_json(user)
            for user in minting.USERS.values()
            if words in user.username.lower() or words in user.email
        ]
        return _data({"users": found})

    async def _user(self, request: web.Request) -> web.Response:
        return _data(self._as_json(self._found(request)))

    def _as_json(self, user: minting.User) -> dict[str, Any]:
        return {
            "id": user.user_id,
            "username": user.username,
            "email": user.email,
            "role": user.role,
            "status": "disabled" if str(user.user_id) in self.disabled else "active",
        }

    async def _metrics(self, request: web.Request) -> web.Response:
        user = self._found(request)
        own = [event for event in self.events if event["user_id"] == user.user_id]
        logins = [event for event in own if event["event"] == "login"]
        failures = [event for event in own if event["event"] == "login_failed"]
        recent = time.time() - RECENT_SECONDS
        data = {
            "logins_total": len(logins),
            "failed_logins_total": len(failures),
            "recent_failed_logins": sum(event["at"] > recent for event in failures),
            "last_login_at": logins[0]["at"] if logins else None,
            "revoked_before": self.revoked_before.get(str(user.user_id)),
        }
        return _data(data)

    async def _log_out(self, request: web.Request) -> web.Response:
        user = self._found(request)
        self._feed.revoke_user(user.user_id)
        self.note(user.username, "logged_out_everywhere")
        return _data({"revoked": True})

    def _found(self, request: web.Request) -> minting.User:
        id_ = request.match_info["id"]
        found = next((user for user in minting.USERS.values() if str(user.user_id) == id_), None)
        found = found or self._others.account(id_)
        if found is None:
            body = {"code": 404, "message": "no such user", "data": None}
            text = web.json_response(body).text
            raise web.HTTPNotFound(text=text, content_type="application/json")
        return found

    async def _statistics(self, _request: web.Request) -> web.Response:
        recent = time.time() - RECENT_SECONDS
        events = [event["event"] for event in self.events if event["at"] > recent]
        data = {
            "users_total": len(minting.USERS),
            "users_active": len(minting.USERS) - len(self.disabled),
            "logins_last_hour": events.count("login"),
            "failed_logins_last_hour": events.count("login_failed"),
        }
        return _data(data)

    async def _activity(self, request: web.Request) -> web.Response:
        wanted = request.query.get("limit", "")
        limit = int(wanted) if wanted.isdecimal() and len(wanted) < 4 else 50
        return _data({"events": list(self.events)[:limit]})


def _data(data: dict[str, Any]) -> web.Response:
    return web.json_response({"code": 0, "message": "ok", "data": data})

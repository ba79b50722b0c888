"""What the console asks Zervi; docs/zervi-console.openapi.yaml is the contract.

Zervi wraps answers as ``{code: 0, message, data}`` or ``{success, data}``, and the paper's paths
answer without a wrapper: all three are read. Its status is never trusted when a wrapper says that a
call failed.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from sidecar.console import shown
from sidecar.console.remote import Remote, RemoteError
from sidecar.documents.findings import one_line

MAX_PERMISSIONS: Final = 1000  # of one user; a page shows them all
MAX_EVENTS: Final = 50
MAX_FOUND: Final = 20  # users of a search
MAX_SUBJECT: Final = 128  # characters; a longer id is not a user's
PROBE_SECONDS: Final = 3.0

Activity = list[dict[str, Any]]


class NoUserError(Exception):
    """Zervi has no such user."""


class LoginError(Exception):
    """Zervi refused a login."""


class User(NamedTuple):
    """A user as Zervi has it. ``status`` is ``active`` or another word of Zervi's."""

    id: str
    username: str
    email: str
    roles: tuple[str, ...]
    status: str


class Login(NamedTuple):
    """A token, with its lifetime in seconds (None where Zervi does not say)."""

    token: str
    seconds: int | None


class Zervi:
    """Zervi's services at ``url``; ``health_urls`` are the services that are probed, by name."""

    def __init__(self, remote: Remote, url: str, health_urls: Mapping[str, str]) -> None:
        self._remote = remote
        self._base = url.rstrip("/")
        self._health_urls = health_urls

    async def log_in(self, username: str, password: str) -> Login:
        """Exchange a login for a token. Raises LoginError or RemoteError."""
        body = {"username": username, "password": password}
        reply = await self._remote.call("POST", f"{self._base}/api/v1/auth/login", body)
        data = _unwrapped(reply.body)
        token = shown.mapping(data).get("token")
        if reply.status in (400, 401, 403, 404, 422) or (reply.status == 200 and data is None):
            raise LoginError
        if reply.status != 200:
            raise RemoteError(f"Zervi answered HTTP status {reply.status}", reply.status)
        if not isinstance(token, str) or not _sendable(token):
            raise RemoteError("Zervi's login has no usable token", reply.status)
        seconds = shown.count(shown.mapping(data).get("expires_in"))
        return Login(token, seconds)

    async def user(self, id_: str) -> User:
        """Look a user up. Raises NoUserError or RemoteError."""
        data = shown.mapping(await self._get(f"/api/users/{_segment(id_)}"))
        user = _user(shown.mapping(data.get("user")) or data)
        if user.id != shown.name(id_):
            raise RemoteError("Zervi answered for another user")
        return user

    async def find(self, words: str) -> list[User]:
        """Return users whose name or address has a text; none where Zervi has no such search.

        Raises RemoteError.
        """
        asked = urlencode({"q": words, "limit": MAX_FOUND})
        try:
            data = await self._get(f"/api/users?{asked}")
        except NoUserError:
            return []
        users = data if isinstance(data, list) else shown.listed(shown.mapping(data).get("users"))
        found = [_user(shown.mapping(each)) for each in users[:MAX_FOUND]]
        return [user for user in found if user.id]

    async def permissions(self, id_: str) -> list[str]:
        """Return a user's permissions. Raises NoUserError or RemoteError."""
        data = await self._get(f"/api/users/{_segment(id_)}/permissions")
        found = data if isinstance(data, list) else shown.mapping(data).get("permissions")
        if found is None:
            return []
        if not isinstance(found, list):
            raise RemoteError("Zervi's answer has no list of permissions")
        return sorted({shown.text(each) for each in found[:MAX_PERMISSIONS]} - {""})

    async def auth_metrics(self, id_: str) -> dict[str, Any] | None:
        """Return a user's logins and sessions, None where this Zervi has none.

        Raises NoUserError or RemoteError.
        """
        try:
            data = shown.mapping(await self._get(f"/api/users/{_segment(id_)}/auth-metrics"))
        except NoUserError:
            return None
        return {
            "logins_total": shown.count(data.get("logins_total")),
            "failed_logins_total": shown.count(data.get("failed_logins_total")),
            "recent_failed_logins": shown.count(data.get("recent_failed_logins")),
            "last_login_at": shown.moment(data.get("last_login_at")),
            "revoked_before": shown.moment(data.get("revoked_before")),
        }

    async def log_out_everywhere(self, id_: str) -> None:
        """Revoke every token of a user that was issued before now.

        Raises NoUserError or RemoteError.
        """
        url = f"{self._base}/api/users/{_segment(id_)}/logout"
        reply = await self._remote.call("POST", url, {})
        if reply.status == 404:
            raise NoUserError
        if not 200 <= reply.status < 300 or _failed(reply.body):
            raise RemoteError(f"Zervi refused: HTTP status {reply.status}", reply.status)

    async def statistics(self) -> dict[str, Any]:
        """Return counts of users and logins, none where Zervi has none. Raises RemoteError."""
        try:
            data = shown.mapping(await self._get("/api/auth/statistics"))
        except NoUserError:
            return {}
        names = ("users_total", "users_active", "logins_last_hour", "failed_logins_last_hour")
        return {name: shown.count(data.get(name)) for name in names}

    async def activity(self) -> Activity:
        """Return the last logins and logouts, the newest first. Raises RemoteError."""
        try:
            data = await self._get(f"/api/auth/activity?limit={MAX_EVENTS}")
        except NoUserError:
            return []
        events = data if isinstance(data, list) else shown.listed(shown.mapping(data).get("events"))
        return [
            {
                "at": shown.moment(event.get("at")),
                "user_id": shown.name(event.get("user_id")),
                "username": shown.text(event.get("username"), 128),
                "event": shown.text(event.get("event"), 64),
            }
            for event in map(shown.mapping, events[:MAX_EVENTS])
        ]

    async def services(self) -> list[dict[str, Any]]:
        """Probe every service; their states, by name."""
        names = sorted(self._health_urls)
        states = await asyncio.gather(*(self._probe(self._health_urls[name]) for name in names))
        return [
            {
                "name": name,
                "url": self._health_urls[name],
                "type": "zervi-service",
                "status": "critical" if problem else "healthy",
                "detail": problem,
            }
            for name, problem in zip(names, states, strict=True)
        ]

    async def _probe(self, url: str) -> str:
        try:
            reply = await self._remote.call("GET", url, seconds=PROBE_SECONDS, token=False)
        except RemoteError as error:
            return one_line(str(error))
        return "" if 200 <= reply.status < 300 else f"HTTP status {reply.status}"

    async def _get(self, path: str) -> Any:
        reply = await self._remote.call("GET", self._base + path)
        if reply.status == 404:
            raise NoUserError
        if reply.status != 200 or _failed(reply.body):
            raise RemoteError(f"Zervi answered HTTP status {reply.status}", reply.status)
        return _unwrapped(reply.body)


def _user(data: dict[str, Any]) -> User:
    roles = data.get("roles", data.get("role"))
    given = roles if isinstance(roles, list) else [roles]
    return User(
        id=shown.name(data.get("id", data.get("user_id"))),
        username=shown.text(data.get("username"), 128),
        email=shown.text(data.get("email"), 256),
        roles=tuple(filter(None, (shown.text(role, 64) for role in given[:64]))),
        status=shown.text(data.get("status"), 32) or "unknown",
    )


def _failed(body: object) -> bool:
    given = shown.mapping(body)
    return given.get("success") is False or given.get("code") not in (None, 0, 200)


def _unwrapped(body: object) -> Any:
    """Return what a wrapper holds; None if it says that the call failed."""
    if _failed(body):
        return None
    given = shown.mapping(body)
    return given["data"] if "data" in given and given.keys() & {"success", "code"} else body


def _sendable(token: str) -> bool:
    """Return whether a token is valid in a cookie (RFC 6265) and not absurdly long."""
    return 0 < len(token) <= 8192 and all(
        "!" <= character <= "~" and character not in '",;\\' for character in token
    )


def _segment(id_: str) -> str:
    """Return an id as one segment of a path. Raises NoUserError for what cannot be one."""
    if not id_ or len(id_) > MAX_SUBJECT or id_ in {".", ".."} or not id_.isprintable():
        raise NoUserError
    return quote(id_, safe="")

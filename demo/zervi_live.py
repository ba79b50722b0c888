"""What the stand-in for Zervi knows at this moment: permissions, disabled users, opaque tokens.

Its look-ups fail in each way of ``FAULTS`` while a test says so.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

import jwt
from aiohttp import web

from demo import minting
from demo.environments import ZerviUsers
from demo.zervi_revocations import RevocationFeed

PERMISSIONS_PATH = "/api/users/{user_id}/permissions"
INTROSPECTION_PATH = "/oauth/introspect"
OPAQUE_PREFIX = "zat_"

Fault = Literal[
    "slow", "huge", "html", "types", "other_user", "missing", "unsuccessful", "redirect", "lies"
]

_EVERYTHING: Final = ["*", "cluster:manage", "service:access"]


class Live:
    """Permissions by user id, disabled users, and opaque tokens.

    ``others`` has the users beside the demo's own; ``disabled`` holds ids of users; ``feed`` says
    whose tokens are revoked.
    ``claims_of`` verifies a JWT and returns its claims; it raises PyJWTError. ``asked`` has the
    path of each look-up. While ``fault`` is set, every look-up fails in that way.
    """

    def __init__(
        self,
        claims_of: Callable[[str], dict[str, Any]],
        others: ZerviUsers,
        feed: RevocationFeed,
        disabled: set[str],
    ) -> None:
        self.permissions: dict[str, list[str]] = {
            str(user.user_id): list(user.permissions) for user in minting.USERS.values()
        }
        self.roles = {str(user.user_id): [user.role] for user in minting.USERS.values()}
        self.disabled = disabled
        self.asked: list[str] = []
        self.fault: Fault | None = None
        self._claims_of = claims_of
        self._others = others
        self._feed = feed
        self._opaque: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return what the stand-in serves of it."""
        return [
            web.get(PERMISSIONS_PATH, self._get_permissions),
            web.post(INTROSPECTION_PATH, self._introspect),
        ]

    def opaque_token(self, username: str) -> str:
        """Issue a token that is not a JWT."""
        token = OPAQUE_PREFIX + secrets.token_urlsafe(30)
        user, now = minting.USERS[username], int(time.time())
        self._opaque[token] = {
            "sub": str(user.user_id),
            "username": user.username,
            "role": user.role,
            "aud": minting.AUDIENCE,
            "iss": minting.JWKS_ISSUER,
            "iat": now,
            "exp": now + minting.TOKEN_SECONDS,
        }
        return token

    def revoke(self, token: str) -> None:
        """Forget an opaque token."""
        self._opaque.pop(token, None)
        self._feed.revoke_token(token)

    def grant(self, user: minting.User, role: str) -> None:
        """Give a user a role from now on."""
        self.withdraw(user, role)
        self.roles[str(user.user_id)].append(role)

    def withdraw(self, user: minting.User, role: str) -> None:
        """Take a role from a user from now on."""
        held = self.roles[str(user.user_id)]
        held[:] = [each for each in held if each != role]

    def claims(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a valid token of an active user, None for any other."""
        try:
            claims = self._opaque.get(token) or self._claims_of(token)
        except jwt.PyJWTError:
            return None
        subject = str(claims.get("user_id", claims.get("sub")))
        return None if subject in self.disabled or self._feed.revokes(claims) else claims

    async def failed(self, request: web.Request) -> web.StreamResponse | None:
        """Note a look-up; return the answer of the fault that a test has switched on."""
        self.asked.append(request.path)
        return None if self.fault is None else await _FAULTS[self.fault](request)

    async def _get_permissions(self, request: web.Request) -> web.StreamResponse:
        if (wrong := await self.failed(request)) is not None:
            return wrong
        user_id = request.match_info["user_id"]
        other = self._others.account(user_id)
        held = self.permissions.get(user_id, None if other is None else list(other.permissions))
        if held is None:
            body = {"code": 404, "message": "no such user", "data": None}
            return web.json_response(body, status=404)
        data = {
            "user_id": user_id,
            "permissions": [] if user_id in self.disabled else held,
            "roles": self.roles.get(user_id, []),
        }
        return web.json_response({"code": 0, "message": "success", "data": data})

    async def _introspect(self, request: web.Request) -> web.StreamResponse:
        """Token introspection (RFC 7662)."""
        if (wrong := await self.failed(request)) is not None:
            return wrong
        form = await request.post()
        claims = self.claims(str(form.get("token", "")))
        return web.json_response(
            {"active": False} if claims is None else {"active": True, **claims}
        )


async def _slow(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)  # until the client leaves
    return web.Response()


async def _huge(_request: web.Request) -> web.StreamResponse:
    return web.json_response(["x" * 1000] * 10_000)


async def _html(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>log in</html>", content_type="text/html")


async def _types(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"active": "yes", "success": "yes", "permissions": {"*": True}})


async def _other_user(_request: web.Request) -> web.StreamResponse:
    held = {"user_id": 999, "sub": "999", "permissions": _EVERYTHING}
    return web.json_response({"active": True, "success": True, "data": held, **held})


async def _missing(_request: web.Request) -> web.StreamResponse:
    return web.json_response(_EVERYTHING, status=404)


async def _unsuccessful(_request: web.Request) -> web.StreamResponse:
    held = {"permissions": _EVERYTHING}
    return web.json_response({"active": False, "success": False, "data": held})


async def _redirect(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/api/users/4/permissions"})


async def _lies(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"active": True, "permissions": _EVERYTHING}, status=500)


_FAULTS: Final[Mapping[Fault, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = {
    "slow": _slow,
    "huge": _huge,
    "html": _html,
    "types": _types,
    "other_user": _other_user,
    "missing": _missing,
    "unsuccessful": _unsuccessful,
    "redirect": _redirect,
    "lies": _lies,
}
FAULTS: Final = tuple(_FAULTS)

"""Signing in and out: a login at Zervi is exchanged for a cookie that the sidecar reads.

That is all that the console does about identity. It neither reads the cookie nor checks the token.
"""

from typing import Final

from aiohttp import web

from sidecar.console.answers import answer, body_of, fail
from sidecar.console.audit import Audit
from sidecar.console.people.zervi import LoginError, Zervi
from sidecar.console.shown import text

COOKIE: Final = "__Host-zervi"
MAX_NAME: Final = 256  # characters of a user name, and of a password
MAX_LOGINS: Final = 8
"""At a time: everybody can try. The rest of the 32 calls to Zervi are for those who signed in."""
MAX_SECONDS: Final = 7 * 24 * 3600  # as long as Zervi's tokens live


class Session:
    """Handlers of ``/session``."""

    def __init__(self, zervi: Zervi, audit: Audit) -> None:
        self._zervi = zervi
        self._audit = audit
        self._logins = 0

    async def sign_in(self, request: web.Request) -> web.Response:
        """Set the cookie; 401 for a login that Zervi refuses."""
        body = await body_of(request)
        username, password = body.get("username"), body.get("password")
        if not (_usable(username) and _usable(password)):
            fail(400, "BAD_REQUEST", f"username and password: 1 to {MAX_NAME} characters each")
        request_id = request.headers.get("x-request-id", "")[:64]
        shown = text(username, 128)
        if self._logins >= MAX_LOGINS:
            fail(503, "TOO_MANY_LOGINS", "too many logins are under way; try again")
        self._logins += 1
        try:
            login = await self._zervi.log_in(str(username), str(password))
        except LoginError:
            self._audit.line("session.create", None, shown, "refused", request_id)
            fail(401, "WRONG_LOGIN", "wrong user name or password")
        finally:
            self._logins -= 1
        self._audit.line("session.create", None, shown, "done", request_id)
        response = answer({"signed_in": True})
        seconds = MAX_SECONDS if login.seconds is None else min(login.seconds, MAX_SECONDS)
        _set_cookie(response, login.token, seconds)
        return response

    async def sign_out(self, _request: web.Request) -> web.Response:
        """Delete the cookie, whatever it holds; the token itself lives on until it expires."""
        response = answer({"signed_in": False})
        _set_cookie(response, "", 0)
        return response


def _set_cookie(response: web.Response, value: str, seconds: int) -> None:
    response.set_cookie(
        COOKIE, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Strict"
    )


def _usable(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME

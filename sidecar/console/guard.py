"""What holds for every request: its Host, its origin, its headers, and that errors are answers.

None of it is authorization: that is the sidecar's.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from sidecar.console.answers import ProblemError, problem
from sidecar.console.audit import Audit
from sidecar.console.caller import Caller, caller_of
from sidecar.console.fleet.search import SearchError
from sidecar.console.people.zervi import NoUserError
from sidecar.console.remote import RemoteError
from sidecar.net.addresses import is_loopback
from sidecar.net.logs import fault_place, once_a_minute

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Change = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]

CSP: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_log = logging.getLogger(__name__)


class Guard:
    """The rules of one console; ``origin`` is ``console.origin``."""

    def __init__(self, origin: str, audit: Audit) -> None:
        self._origin = origin
        self._host = urlsplit(origin).netloc
        self._audit = audit

    def middleware(self) -> Middleware:
        """Return the middleware that turns errors into answers."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._is_ours(request.headers.get("Host", "")):
                # A page of another name that resolves to this address (DNS rebinding).
                return problem(421, "WRONG_HOST", "this host is not the console's")
            try:
                return await handler(request)
            except (ProblemError, SearchError, NoUserError, RemoteError) as error:
                return _answered(error)
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                allow = error.headers.get("Allow")
                headers = {"Allow": allow} if allow else {}
                code = error.reason.upper().replace(" ", "_")
                return problem(error.status, code, error.reason.lower(), **headers)
            except Exception as error:  # noqa: BLE001 -- a client gets no trace
                place = request.match_info.route.resource
                _log.error("an error in %s: %s", place and place.canonical, fault_place(error))
                return problem(500, "INTERNAL", "an internal error; the console's log has it")

        return guarded

    async def headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Set the headers of every answer."""
        response.headers.update(HEADERS)
        if not request.path.startswith("/static/"):
            response.headers["Cache-Control"] = "no-store"

    def known(self, handler: Change) -> Handler:
        """Return a handler that needs a caller: the sidecar names one on each protected route."""

        async def with_caller(request: web.Request) -> web.StreamResponse:
            caller = caller_of(request)
            if caller is None:
                message = "no identity: requests must come through Envoy and the sidecar"
                return problem(403, "NOT_THROUGH_ENVOY", message)
            return await handler(request, caller)

        return with_caller

    def own_page(self, handler: Handler) -> Handler:
        """Return a handler that only pages of ``console.origin`` may call.

        ``Origin`` is never compared with Host, which a page of another name can choose.
        """

        async def checked(request: web.Request) -> web.StreamResponse:
            if request.headers.getall("Origin", []) != [self._origin]:
                text = "a request from another origin was refused: %s %s"
                place = request.match_info.route.resource
                shown = place.canonical if place else ""
                _log.warning(text, request.method, shown, extra=once_a_minute("origin"))
                return problem(403, "WRONG_ORIGIN", "Origin must be the console's own")
            return await handler(request)

        return checked

    def change(self, action: str, handler: Change) -> Handler:
        """Return a handler that changes what ``id`` names, for our own page, with an audit line.

        The route table requires ``cluster:manage`` for it.
        """

        async def audited(request: web.Request, caller: Caller) -> web.StreamResponse:
            result = "internal"
            try:
                response = await handler(request, caller)
                result = "done" if response.status < 400 else f"status {response.status}"
            except (ProblemError, NoUserError, RemoteError) as error:
                result = f"failed: {error}" if str(error) else "not found"
                raise
            finally:
                on = request.match_info.get("id", "")[:256]
                request_id = request.headers.get("x-request-id", "")[:64]
                self._audit.line(action, caller, on, result, request_id)
            return response

        return self.own_page(self.known(audited))

    def _is_ours(self, host: str) -> bool:
        return host == self._host or is_loopback(_name(host))


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _answered(error: Exception) -> web.Response:
    if isinstance(error, ProblemError):
        return problem(error.status, error.code, str(error))
    if isinstance(error, SearchError):
        return problem(400, "BAD_REQUEST", str(error))
    if isinstance(error, NoUserError):
        return problem(404, "NO_USER", "Zervi has no such user")
    return problem(502, "UNAVAILABLE", str(error))

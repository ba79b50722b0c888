"""A stand-in for Zervi with the behaviour and the faults of the real one, and a JWKS.

It holds made-up accounts, forgets everything when it ends, and is only for the demo and for tests.
"""

import asyncio
import functools
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
from aiohttp import web
from jwt.types import Options

from demo import minting
from demo.environments import ZerviUsers
from demo.minting import KeyAlgorithm, SigningKey
from demo.zervi_console import ConsoleApi
from demo.zervi_live import Live
from demo.zervi_revocations import RevocationFeed

JWKS_PATH = "/.well-known/jwks.json"
SHUTDOWN_SECONDS = 1.0  # for answers under way; the demo ends quickly

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Zervi:
    """A running stand-in.

    ``url`` is its base. ``keys`` are those of the JWKS, the last one signs. While ``down`` is true
    everything but ``/demo/`` answers 503.
    """

    def __init__(self, key: SigningKey, hs256_secret: bytes, max_age: int) -> None:
        self.url = ""
        self.keys = [key]
        self.down = False
        self.environments = ZerviUsers()
        self.revocations = RevocationFeed()
        self.console = ConsoleApi(self.environments, self.revocations)
        self.live = Live(self._claims, self.environments, self.revocations, self.console.disabled)
        self._secret = hs256_secret
        self._max_age = max_age
        self._runner: web.AppRunner | None = None

    @property
    def jwks_url(self) -> str:
        """Where the key set is."""
        return self.url + JWKS_PATH

    async def start(self, host: str, port: int) -> None:
        """Listen; a port of 0 is any free one. Raises OSError if the address is not available."""
        app = web.Application(middlewares=[self._while_down])
        app.add_routes(
            [
                web.get(JWKS_PATH, self._get_jwks),
                web.post("/api/v1/auth/login", self._login),
                web.post("/api/v1/auth/validate", self._validate),
                web.post("/api/v1/auth/service/login", self._service_login),
                web.get("/health", self._health),
                web.post("/demo/rotate", self._rotate),
                web.post("/demo/down", self._down),
                web.post("/api/v1/auth/logout", self._logout),
                web.post("/demo/disable", self._disable),
                web.post("/demo/{change:grant|withdraw}", self._change_role),
                *self.revocations.routes(),
                *self.console.routes(),
                *self.environments.routes(),
                *self.live.routes(),
            ]
        )
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        self.url = f"http://{host}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening and close every connection; a second call does nothing."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def rotate(self, *, withdraw: bool = False) -> SigningKey:
        """Sign with a new key from now on; ``withdraw`` removes the old ones from the JWKS."""
        algorithm = self.keys[-1].algorithm
        number = int(self.keys[-1].kid.rpartition("-")[2]) + 1
        key = await asyncio.to_thread(minting.new_key, f"zervi-{number}", algorithm)
        self.keys = [key] if withdraw else [*self.keys, key]
        return key

    def token(self, username: str, style: str = "zervi") -> str:
        """Issue a user's token as ``/login`` does, in one of ``minting.STYLES``."""
        return minting.sign(minting.user_claims(username, style), self._signer(style))

    def environment_token(self, user_id: str) -> str:
        """Issue a token of a user who was created for an environment. Raises KeyError."""
        user = self.environments.account(user_id)
        if user is None:
            raise KeyError(user_id)
        return minting.sign(minting.STYLES["zervi"](user, int(time.time())), self.keys[-1])

    def service_token(self, service_id: str) -> str:
        """Issue a service's token as ``/service/login`` does."""
        return minting.sign(minting.service_claims(service_id), self._secret)

    def _signer(self, style: str) -> SigningKey | bytes:
        return self.keys[-1] if style == "zervi" else self._secret

    @web.middleware
    async def _while_down(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self.down and not request.path.startswith("/demo/"):
            return _failure(503, "Zervi is down")
        return await handler(request)

    async def _get_jwks(self, request: web.Request) -> web.Response:
        document = minting.jwks(*self.keys)
        etag = hashlib.sha256(document).hexdigest()[:32]
        headers = {"ETag": f'"{etag}"', "Cache-Control": f"public, max-age={self._max_age}"}
        if any(match.value == etag for match in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=document, content_type="application/json", headers=headers)

    async def _login(self, request: web.Request) -> web.Response:
        form = await _json_object(request)
        style = str(request.query.get("style", form.get("style", "zervi")))
        if style not in minting.STYLES:
            return _failure(400, f"style is one of {', '.join(minting.STYLES)}")
        user = minting.USERS.get(str(form.get("username")))
        if user is None or not _same(form.get("password"), user.password):
            self.console.note(str(form.get("username")), "login_failed")
            return _failure(401, "wrong username or password")
        if str(user.user_id) in self.console.disabled:
            return _failure(403, "the user is disabled")
        self.console.note(user.username, "login")
        return _success(
            {
                "token": self.token(user.username, style),
                "expires_in": minting.TOKEN_SECONDS,
                "user": {"id": user.user_id, "username": user.username, "role": user.role},
            }
        )

    async def _logout(self, request: web.Request) -> web.Response:
        """Revoke the tokens of the user whose token this is."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = self._claims(token if scheme.lower() == "bearer" else "")
        except jwt.PyJWTError:
            return _failure(401, "invalid token")
        self.revocations.revoke_user(claims.get("user_id") or claims.get("sub", ""))
        return _success({"message": "logged out"})

    async def _disable(self, request: web.Request) -> web.Response:
        form = await _json_object(request)
        user = minting.USERS.get(str(form.get("username")))
        if user is None:
            return _failure(404, "no such user")
        self.console.disabled.add(str(user.user_id))
        self.revocations.revoke_user(user.user_id)
        return _success({"disabled": user.username})

    async def _change_role(self, request: web.Request) -> web.Response:
        form = await _json_object(request)
        user = minting.USERS.get(str(form.get("username")))
        if user is None:
            return _failure(404, "no such user")
        change = self.live.grant if request.match_info["change"] == "grant" else self.live.withdraw
        change(user, str(form.get("role")))
        return _success({"roles": self.live.roles[str(user.user_id)]})

    async def _service_login(self, request: web.Request) -> web.Response:
        form = await _json_object(request)
        service = minting.SERVICES.get(str(form.get("service_id")))
        if service is None or not _same(form.get("service_secret"), service.secret):
            return _failure(401, "wrong service_id or service_secret")
        return _success(
            {
                "service_token": self.service_token(service.service_id),
                "expires_in": minting.TOKEN_SECONDS,
            }
        )

    async def _validate(self, request: web.Request) -> web.StreamResponse:
        if (wrong := await self.live.failed(request)) is not None:
            return wrong
        form = await _json_object(request)
        claims = self.live.claims(str(form.get("token", "")))
        if claims is None:
            return _failure(200, "invalid token")  # a fault of Zervi: the status is 200
        return _success({"valid": True, "claims": claims})

    def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        lax: Options = {"verify_aud": False, "verify_iat": False}
        if header.get("alg") == "HS256":
            return jwt.decode(token, self._secret, algorithms=["HS256"], options=lax)
        for key in self.keys:
            if key.kid == header.get("kid"):
                public = key.private.public_key()
                return jwt.decode(token, public, algorithms=[key.algorithm], options=lax)
        raise jwt.InvalidTokenError("unknown key")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "service": "unified-auth"})

    async def _rotate(self, request: web.Request) -> web.Response:
        form = await _json_object(request)
        await self.rotate(withdraw=form.get("withdraw") is True)
        return _success({"keys": [key.kid for key in self.keys], "signing": self.keys[-1].kid})

    async def _down(self, request: web.Request) -> web.Response:
        form = await _json_object(request)
        self.down = form.get("down", True) is True
        return _success({"down": self.down})


@functools.cache
def _first_key(algorithm: KeyAlgorithm) -> SigningKey:
    return minting.new_key("zervi-1", algorithm)


async def start_zervi(
    port: int,
    hs256_secret: bytes,
    host: str = "127.0.0.1",
    *,
    algorithm: KeyAlgorithm = "RS256",
    max_age: int = 300,
) -> Zervi:
    """Start a stand-in; all of a process begin with the same key.

    ``max_age`` is what its JWKS says, in seconds. Raises OSError where the address cannot be had.
    """
    key = await asyncio.to_thread(_first_key, algorithm)
    zervi = Zervi(key, hs256_secret, max_age)
    await zervi.start(host, port)
    return zervi


async def _json_object(request: web.Request) -> dict[str, Any]:
    """Read the body; anything but a JSON object counts as an empty one."""
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _same(given: object, wanted: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # JSON can spell lone surrogates


def _success(data: dict[str, Any]) -> web.Response:
    return web.json_response({"success": True, "data": data})


def _failure(status: int, error: str) -> web.Response:
    return web.json_response({"success": False, "error": error}, status=status)

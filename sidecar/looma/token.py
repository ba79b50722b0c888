"""The service token for a registry: from a file, the environment, or Zervi's service login."""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sidecar.looma.answers import Answer, Caller, bounded_seconds
from sidecar.looma.registry import Failed
from sidecar.net.logs import once_a_minute

MAX_TOKEN_BYTES = 8 * 1024
MAX_SECRET_BYTES = 64 * 1024  # as for the secrets of issuers
RENEW_AT = 0.8  # of a token's life
MIN_LIFE, MAX_LIFE = 10.0, 30 * 24 * 3600.0
DEFAULT_LIFE = 300.0  # where the answer has no expires_in
REFUSED_PAUSE = 60.0  # after a refused new token: not one login per call

_log = logging.getLogger(__name__)


class NoTokenError(Exception):
    """There is no usable service token; the message is for the operator."""


class Tokens(Protocol):
    """A source of the service token."""

    async def token(self) -> str:
        """Return the token to send now. Raises NoTokenError."""

    async def other_than(self, rejected: str) -> str | None:
        """Return another token than a refused one, None where there is none."""


@dataclass(frozen=True, slots=True)
class FileTokens:
    """A file that is read for each call, because Kubernetes rotates its token."""

    path: Path

    async def token(self) -> str:
        """Read the file."""
        try:
            content = await asyncio.to_thread(self._read)
        except OSError as error:
            raise NoTokenError(f"the service token's file: {error.strerror}") from error
        return _checked(content, "the service token's file")

    async def other_than(self, rejected: str) -> str | None:
        """Return the file's token, if it is another one."""
        token = await self.token()
        return None if token == rejected else token

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_TOKEN_BYTES + 1)


@dataclass(frozen=True, slots=True)
class EnvTokens:
    """An environment variable."""

    name: str

    async def token(self) -> str:
        """Return the variable's value."""
        return _checked(os.environb.get(self.name.encode(), b""), f"the variable {self.name}")

    async def other_than(self, rejected: str) -> str | None:  # noqa: ARG002 -- a protocol's method
        """Return None: the environment of a process does not change."""
        return None


@dataclass(frozen=True, slots=True)
class Login:
    """The parameters of Zervi's service login."""

    url: str
    service_id: str
    secret: str | Path = field(repr=False)  # a file is read for each login


class LoginTokens:
    """Zervi's ``POST /api/v1/auth/service/login``: one at a time, renewed before it expires."""

    def __init__(self, login: Login, call: Caller) -> None:
        self._login = login
        self._call = call
        self._token: str | None = None
        self._renew_at = 0.0
        self._ends_at = 0.0
        self._running: asyncio.Task[str] | None = None

    async def token(self) -> str:
        """Return the token; log in if there is none or it expires soon."""
        now = asyncio.get_running_loop().time()
        if self._token is not None and now < self._renew_at:
            return self._token
        try:
            return await self._fresh()
        except NoTokenError as error:
            if self._token is None or now >= self._ends_at:
                raise
            text = "%s: the former service token is still used"
            _log.warning(text, error, extra=once_a_minute("token renewal"))
            return self._token

    async def other_than(self, rejected: str) -> str | None:
        """Return a newer token, after another login if necessary."""
        if self._token is not None and self._token != rejected:
            return self._token
        return await self._fresh()

    async def close(self) -> None:
        """Cancel a running login."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _fresh(self) -> str:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._log_in(), name="looma-login")
            # retrieve the exception if no task waits any longer
            self._running.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._running)

    async def _log_in(self) -> str:
        login, secret = self._login, self._login.secret
        if isinstance(secret, Path):
            secret = await asyncio.to_thread(_read_secret, secret)
        body = {"service_id": login.service_id, "service_secret": secret}
        answer = await self._call("POST", login.url, body)
        if isinstance(answer, Failed):
            raise NoTokenError(f"Zervi's service login: {answer.detail}")
        token, life = self._read(answer)
        now = asyncio.get_running_loop().time()
        self._token, self._renew_at, self._ends_at = token, now + RENEW_AT * life, now + life
        return token

    def _read(self, answer: Answer) -> tuple[str, float]:
        body = answer.json()
        succeeded = isinstance(body, dict) and body.get("success") is not False
        data = body.get("data") if succeeded and answer.status == 200 else None
        if not isinstance(data, dict):
            raise NoTokenError(f"Zervi's service login was refused: HTTP status {answer.status}")
        token = data.get("service_token")
        if not isinstance(token, str):
            raise NoTokenError("Zervi's service login: the answer has no data.service_token")
        life = bounded_seconds(data.get("expires_in"), "expires_in", MIN_LIFE, MAX_LIFE, _complain)
        checked = _checked(token.encode("utf-8", "surrogatepass"), "Zervi's service token")
        return checked, life or DEFAULT_LIFE


def tokens_of(source: FileTokens | EnvTokens | Login | None, call: Caller) -> Tokens | None:
    """Return the tokens of a configured source; ``call`` makes the calls of a login."""
    return LoginTokens(source, call) if isinstance(source, Login) else source


class WithToken:
    """Adds the service token to each call, and repeats a refused call once with another token."""

    def __init__(self, call: Caller, tokens: Tokens, header: str, prefix: str) -> None:
        self._call = call
        self._tokens = tokens
        self._header = header
        self._prefix = prefix
        self._no_other_before = 0.0

    async def __call__(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Failed:
        """Make the call, and repeat it if the token is refused and there is another one."""
        try:
            token = await self._tokens.token()
            answer = await self._with(token, method, url, body, headers)
            now = asyncio.get_running_loop().time()
            if not _refused(answer) or now < self._no_other_before:
                return answer
            other = await self._tokens.other_than(token)
        except NoTokenError as error:
            return Failed(str(error))
        if other is None:
            return answer
        answer = await self._with(other, method, url, body, headers)
        if _refused(answer):
            self._no_other_before = now + REFUSED_PAUSE
        return answer

    async def _with(
        self, token: str, method: str, url: str, body: Any, headers: Mapping[str, str] | None
    ) -> Answer | Failed:
        return await self._call(
            method, url, body, {**(headers or {}), self._header: self._prefix + token}
        )


def _refused(answer: Answer | Failed) -> bool:
    return isinstance(answer, Answer) and answer.status in (401, 403)


def _complain(key: str, text: str) -> None:
    _log.warning("Zervi's service login: %s", text, extra=once_a_minute(f"login {key}"))


def _read_secret(path: Path) -> str:
    """Return the secret of a login without its final line break. Raises NoTokenError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise NoTokenError(f"the login's secret file: {error.strerror}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise NoTokenError(f"the login's secret file is longer than {MAX_SECRET_BYTES} bytes")
    secret = content.removesuffix(b"\r\n" if content.endswith(b"\r\n") else b"\n")
    if not secret.strip():
        raise NoTokenError("the login's secret file is empty")
    try:
        return secret.decode()
    except UnicodeDecodeError:
        raise NoTokenError("the login's secret file is not UTF-8") from None


def _checked(content: bytes, source: str) -> str:
    """Return the token as a valid header value. Raises NoTokenError."""
    token = content.strip()
    if not token:
        raise NoTokenError(f"{source} is empty")
    if len(token) > MAX_TOKEN_BYTES:
        raise NoTokenError(f"{source} is longer than {MAX_TOKEN_BYTES} bytes")
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise NoTokenError(f"{source} contains characters that are invalid in a header")
    return token.decode("ascii")

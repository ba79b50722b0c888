"""Calls to Looma, Zervi and Prometheus: JSON, bounded in time and size, never trusted."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sidecar.console.settings import LoomaSection, TokenSection, ZerviSection
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.token import (
    REFUSED_PAUSE,
    EnvTokens,
    FileTokens,
    Login,
    NoTokenError,
    Tokens,
    tokens_of,
)
from sidecar.net.http_client import HttpClient, HttpError, read_body
from sidecar.net.trust import TlsFiles, TrustError

CALL_SECONDS: Final = 5.0  # connecting, sending and the whole answer
MAX_ANSWER_BYTES: Final = 1024 * 1024  # of Zervi and Prometheus; usual ones are below 64 KiB
MAX_CALLS: Final = 32  # that run at the same time, per server


class RemoteError(Exception):
    """A call without a usable answer; the message is for the operator and names no value.

    ``status`` is the answer's, 0 without one.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Reply(NamedTuple):
    """An answer; ``body`` is its JSON, None where it is not JSON."""

    status: int
    body: Any
    etag: str = ""


class Remote:
    """One server. ``name`` is how messages call it."""

    def __init__(
        self, name: str, files: TlsFiles | None = None, token: TokenSection | None = None
    ) -> None:
        files = files or TlsFiles()
        self._name = name
        self._client = HttpClient(files)
        self._tokens = None if token is None else _tokens(token, files)
        self._free = asyncio.Semaphore(MAX_CALLS)
        self._no_other_before = 0.0  # by the loop's clock

    @classmethod
    def of(cls, name: str, section: LoomaSection | ZerviSection) -> "Remote":
        """Return the server of a section of the configuration."""
        files = TlsFiles(section.ca_file, section.cert_file, section.key_file)
        return cls(name, files, section.token)

    async def call(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_ANSWER_BYTES,
        seconds: float = CALL_SECONDS,
        token: bool = True,
    ) -> Reply:
        """Make a call, and repeat it once where another token than the refused one exists.

        ``token`` is false for a server that must not get it. Raises RemoteError.
        """
        try:
            async with asyncio.timeout(seconds), self._free:
                tokens = self._tokens if token else None
                first = "" if tokens is None else await tokens.token()
                reply = await self._once(method, url, body, headers or {}, limit, first)
                now = asyncio.get_running_loop().time()
                if not _refused(reply) or tokens is None or now < self._no_other_before:
                    return reply
                other = await tokens.other_than(first)
                if other is None:
                    return reply
                reply = await self._once(method, url, body, headers or {}, limit, other)
                if _refused(reply):  # it is not the token's age: each viewer would cause a login
                    self._no_other_before = now + REFUSED_PAUSE
                return reply
        except TimeoutError:
            raise RemoteError(f"{self._name} did not answer within {seconds:g} s") from None
        except (HttpError, TrustError, NoTokenError) as error:
            raise RemoteError(f"{self._name}: {error}") from None

    async def json(self, method: str, url: str, body: object = None) -> dict[str, Any]:
        """Return the object in an answer with a status of 2xx. Raises RemoteError."""
        reply = await self.call(method, url, body)
        if not 200 <= reply.status < 300:
            raise RemoteError(f"{self._name} answered HTTP status {reply.status}", reply.status)
        if not isinstance(reply.body, dict):
            raise RemoteError(f"{self._name} did not answer a JSON object", reply.status)
        return reply.body

    async def _once(
        self,
        method: str,
        url: str,
        body: object,
        headers: Mapping[str, str],
        limit: int,
        token: str,
    ) -> Reply:
        sent = dict(headers)
        content = None
        if body is not None:
            content = json.dumps(body, allow_nan=False).encode()
            sent["Content-Type"] = "application/json"
        if token:
            sent["Authorization"] = f"Bearer {token}"
        async with self._client.send(method, url, headers=sent, content=content) as response:
            received = await read_body(response, limit)
            if received is None:
                message = f"{self._name}'s answer is longer than {limit // 1024} KiB"
                raise RemoteError(message, response.status)
            found = await asyncio.to_thread(_parsed, received)
            return Reply(response.status, found, response.entity_tag() or "")


def _refused(reply: Reply) -> bool:
    return reply.status in (401, 403)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None


def _tokens(token: TokenSection, files: TlsFiles) -> Tokens | None:
    if token.file is not None:
        return FileTokens(token.file)
    if token.env is not None:
        return EnvTokens(token.env)
    login = Login(token.login_url or "", token.service_id or "", token.secret_file or "")
    return tokens_of(login, HttpCaller(files))

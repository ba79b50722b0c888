"""HTTP calls over sockets: bounded in time and size, and never raising.

A module of its own, so that the rest of the room can be imported without aiohttp's 13 MB.
"""

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from sidecar.looma.calls import CALL_SECONDS, MAX_BODY_BYTES, Answer
from sidecar.looma.registry import Failed
from sidecar.net.trust import TlsFiles, Trust, TrustError


class HttpCaller:
    """Calls over HTTP with no redirects, no cookies, no proxies and no decompression.

    Each call has a connection of its own: at one call in half a minute, keeping thousands of idle
    connections open would cost the registry more, and none is found dead when it is needed.
    ``files`` are for https: whom to trust, and what to show.
    """

    def __init__(self, files: TlsFiles = TlsFiles()) -> None:  # noqa: B008 -- it never changes
        self._trust = Trust(files)
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Failed:
        """Make the call within ``CALL_SECONDS``."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._call(method, url, body, headers or {})
        except TimeoutError:
            return Failed(f"no answer within {CALL_SECONDS:g} s")
        except TrustError as error:
            return Failed(f"looma: {error}")
        except (aiohttp.ClientError, OSError, ValueError, _UnansweredError) as error:
            return Failed(describe(error))

    async def close(self) -> None:
        """Drop what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self, method: str, url: str, body: Any, headers: Mapping[str, str]
    ) -> Answer | Failed:
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        sent = {"Accept-Encoding": "identity", **headers}
        if content is not None:
            sent["Content-Type"] = "application/json"
        https = url.startswith("https:")
        trust = await asyncio.to_thread(self._trust.context) if https else True
        async with self._open_session().request(
            method, url, data=content, headers=sent, allow_redirects=False, ssl=trust
        ) as response:
            try:
                if 300 <= response.status < 400:
                    return Failed(f"a redirect ({response.status}), which is not followed")
                received = await _read(response.content)
            finally:
                response.close()
            return Answer(
                response.status, received, _retry_after(response.headers.get("Retry-After"))
            )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=None),  # the whole call has its own
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                middlewares=(_once,),
            )
        return self._session


class _UnansweredError(Exception):
    """A request that got no answer; the message says why, without the URL."""


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from asking again at once when a connection ends without an answer.

    It does so for GET, PUT and DELETE, and would double the calls of every node at a registry that
    breaks down, and the probes of an upstream that does.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _UnansweredError(describe(error)) from error


async def _read(stream: aiohttp.StreamReader) -> bytes | None:
    received = b""
    async for piece in stream.iter_any():
        received += piece
        if len(received) > MAX_BODY_BYTES:
            return None
    return received


def _retry_after(value: str | None) -> float | None:
    """Read the header of RFC 9110 section 10.2.3: seconds, or a date."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdecimal() else _seconds_until(value)
    except (ValueError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()


def describe(error: Exception) -> str:
    """Say what went wrong without the URL, which may hold credentials."""
    if isinstance(error, _UnansweredError):
        return str(error)
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "not trusted"
        return f"the certificate does not verify: {reason}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(cause).__name__


_WORDS: dict[type[Exception], str] = {
    aiohttp.ServerDisconnectedError: "the connection ended without an answer",
    aiohttp.ClientPayloadError: "the connection ended within the answer",
    aiohttp.ClientResponseError: "the answer is no HTTP",
}


async def probe_http(url: str) -> str | None:
    """Ask the upstream over a connection of its own, as a new client would.

    The status decides and the body is left unread. Return what is wrong, None where nothing is.
    """
    connector = aiohttp.TCPConnector(force_close=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), middlewares=(_once,)
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            response.close()
            return None if 200 <= response.status < 300 else f"HTTP status {response.status}"
    except (aiohttp.ClientError, OSError, ValueError, _UnansweredError) as error:
        return describe(error)

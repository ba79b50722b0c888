"""HTTP as a client of a server that may be slow, wrong or hostile.

Import it where it is used: aiohttp costs 13 MB and start time.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum, auto
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from sidecar.net.trust import TlsFiles, Trust

READ_BYTES: Final = 64 * 1024
"""How much aiohttp buffers before it stops reading from the socket."""

_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "zervi-sidecar"}


class HttpFault(Enum):
    """Why a request has no usable answer."""

    CERTIFICATE = auto()
    TLS = auto()
    NAME = auto()
    CONNECT = auto()
    CLOSED = auto()
    BODY = auto()
    NOT_HTTP = auto()
    CONNECTION = auto()
    URL = auto()


class HttpError(Exception):
    """A request without a usable answer; the message has no part of the URL or the answer."""

    def __init__(self, fault: HttpFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class HttpClient:
    """Sends requests without redirects, cookies, proxies, retries and decompression.

    Each request has a connection of its own: at one in half a minute, idle connections would cost
    a server of thousands of nodes more, and none is found closed when it is needed. ``files`` are
    for https.
    """

    def __init__(self, files: TlsFiles = TlsFiles()) -> None:  # noqa: B008 -- it never changes
        self._trust = Trust(files)

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        content: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; yield the response with its body unread. The caller sets a deadline.

        Raises HttpError, and TrustError where a TLS file is not usable.
        """
        try:
            https = urlsplit(url).scheme == "https"
            trust = await asyncio.to_thread(self._trust.context) if https else True
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        ssl=trust, force_close=True, use_dns_cache=False
                    ),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                    auto_decompress=False,
                    read_bufsize=READ_BYTES,
                    middlewares=(_once,),
                ) as session,
                session.request(
                    method,
                    url,
                    data=content,
                    headers={**_HEADERS, **headers},
                    allow_redirects=False,
                ) as response,
            ):
                try:
                    yield response
                finally:
                    response.close()  # an unread body is not read to its end
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _explained(error) from error


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Return the body; None where it is longer than ``limit`` bytes."""
    if (response.content_length or 0) > limit:
        return None
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again when a connection ends without an answer.

    It does so for GET, PUT and DELETE, which would double the load of a server that breaks down.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise _explained(error) from error


def _explained(error: Exception) -> HttpError:
    """Return what went wrong, from the error's type: its text may hold the whole URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            return HttpError(HttpFault.CERTIFICATE, f"the certificate does not verify: {reason}")
        case aiohttp.ClientSSLError():
            return HttpError(HttpFault.TLS, "the TLS handshake failed")
        case aiohttp.ClientConnectorDNSError():
            return HttpError(HttpFault.NAME, "the host name does not resolve")
        case aiohttp.ClientConnectorError():
            return HttpError(HttpFault.CONNECT, f"no connection: {_strerror(error.os_error)}")
        case aiohttp.ClientPayloadError():
            return HttpError(HttpFault.BODY, "the body ended early")
        case aiohttp.ServerDisconnectedError():
            return HttpError(HttpFault.CLOSED, "the connection was closed without an answer")
        case aiohttp.ClientResponseError():
            return HttpError(HttpFault.NOT_HTTP, "the answer is not valid HTTP")
        case OSError():
            return HttpError(HttpFault.CONNECTION, f"the connection broke: {_strerror(error)}")
        case _:
            return HttpError(HttpFault.URL, "the URL is not valid")


def _strerror(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__

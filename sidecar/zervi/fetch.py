"""One key set over HTTP, from a server that may be slow, wrong or hostile."""

import asyncio
import os
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from sidecar.core.tokens.key_sets import MAX_DOCUMENT_BYTES
from sidecar.net.trust import TlsFiles, Trust, TrustError
from sidecar.zervi.interface import Answer, FetchError

READ_BYTES = 64 * 1024  # what aiohttp buffers before it stops reading from the socket

# An entity tag that can be sent back as it came (RFC 9110, 8.8.3), without the obsolete bytes over
# 0x7E. The length is ours: a longer one only costs the server its 304.
_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,256}"')
# Ten digits are three hundred years; longer numbers say no more than that.
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?(\d{1,10})"?\s*(?=,|$)', re.ASCII | re.IGNORECASE)
_AGE = re.compile(r"\d{1,10}", re.ASCII)

_REQUEST_HEADERS = {
    "accept": "application/jwk-set+json, application/json",
    "accept-encoding": "identity",
    "user-agent": "zervi-sidecar",
}

_CHECK_ZERVI = "check that Zervi runs and that jwks_url is right"
_CHECK_ANSWER = "jwks_url must name the JWKS document itself; look at what it answers"
_CHECK_TLS = (
    "set ca_file to the CA that signed the certificate, and use the host name that it is for"
)


class HttpFetcher:
    """Fetches one URL, each time by a connection of its own: minutes lie between two fetches."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._url = url
        self._tls = parts.scheme == "https"
        self._ca_file = ca_file
        self._trust = Trust(TlsFiles(ca_file))

    async def fetch(self, validator: str | None) -> Answer:
        """Fetch once; redirects and compressed bodies are refused. Raises FetchError."""
        try:
            trust = await asyncio.to_thread(self._context) if self._tls else True
            return await self._get(trust, validator)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _explain(error) from error

    def _context(self) -> ssl.SSLContext:
        try:
            return self._trust.context()
        except TrustError as error:
            cause = f"ca_file {self._ca_file} cannot be used: {error.reason}"
            raise FetchError(cause, "make it a readable PEM file of CA certificates") from error

    async def _get(self, trust: ssl.SSLContext | bool, validator: str | None) -> Answer:
        headers = dict(_REQUEST_HEADERS)
        if validator is not None:
            headers["if-none-match"] = validator
        connector = aiohttp.TCPConnector(ssl=trust, force_close=True, use_dns_cache=False)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                auto_decompress=False,
                read_bufsize=READ_BYTES,
                middlewares=(_once,),
            ) as session,
            session.get(self._url, headers=headers, allow_redirects=False) as response,
        ):
            cache_control = ",".join(response.headers.getall("cache-control", ()))
            max_age = freshness(cache_control, response.headers.get("age", ""))
            if response.status == 304 and validator is not None:
                return Answer(None, validator, max_age)
            _require_document(response)
            body = await _read(response)
            etag = response.headers.get("etag", "")
            return Answer(body, etag if _ETAG.fullmatch(etag) else None, max_age)


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from asking again at once when a connection ends without an answer."""
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise _explain(error) from error


def freshness(cache_control: str, age: str) -> float | None:
    """Give for how many seconds an answer calls itself fresh: max-age less Age (RFC 9111, 4.2).

    None where it does not say, or not in a form that can be read.
    """
    lifetimes = [int(seconds) for seconds in _MAX_AGE.findall(cache_control)]
    if not lifetimes:
        return None
    return float(max(0, min(lifetimes) - (int(age) if _AGE.fullmatch(age) else 0)))


def _require_document(response: aiohttp.ClientResponse) -> None:
    """Refuse what its head shows to be no document; the body is judged, not its content-type."""
    status = response.status
    if 300 <= status < 400:
        raise FetchError(
            f"status {status}: a redirect, and none is followed",
            "put the final address into jwks_url",
        )
    if status != 200:
        raise FetchError(f"status {status}", _CHECK_ZERVI if status >= 500 else _CHECK_ANSWER)
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise FetchError("a compressed body that was not asked for", "have it served uncompressed")
    if (response.content_length or 0) > MAX_DOCUMENT_BYTES:
        raise _too_large()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> FetchError:
    return FetchError(f"a body of more than {MAX_DOCUMENT_BYTES // 1024} KiB", _CHECK_ANSWER)


def _explain(error: Exception) -> FetchError:
    """Say in one line what went wrong, from the error's type: its text may hold the whole URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            return FetchError(f"the certificate does not verify: {reason}", _CHECK_TLS)
        case aiohttp.ClientSSLError():
            return FetchError("the TLS handshake failed", "check that the port speaks TLS")
        case aiohttp.ClientConnectorDNSError():
            return FetchError("the host name does not resolve", _CHECK_ZERVI)
        case aiohttp.ClientConnectorError():
            return FetchError(f"no connection: {_strerror(error.os_error)}", _CHECK_ZERVI)
        case aiohttp.ClientPayloadError():
            return FetchError("the body ended early", _CHECK_ZERVI)
        case aiohttp.ServerDisconnectedError():
            return FetchError("the connection was closed without an answer", _CHECK_ZERVI)
        case aiohttp.ClientResponseError():
            return FetchError("the answer is not valid HTTP", _CHECK_ANSWER)
        case OSError():
            return FetchError(f"the connection broke: {_strerror(error)}", _CHECK_ZERVI)
        case _:
            return FetchError("it cannot be asked for", "check that jwks_url is a valid URL")


def _strerror(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__

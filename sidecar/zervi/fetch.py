"""Fetches documents over HTTP, from a server that may be slow, wrong or hostile."""

import re
import zlib
from urllib.parse import urlsplit

from sidecar.core.tokens.key_sets import MAX_DOCUMENT_BYTES
from sidecar.net.http_client import HttpClient, HttpError, HttpFault, Response, read_body
from sidecar.net.trust import TlsFiles, TrustError
from sidecar.zervi.interface import Fetched, FetchError, JwksUrl
from sidecar.zervi.local_file import read_token

# Ten digits are three hundred years.
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?(\d{1,10})"?\s*(?=,|$)', re.ASCII | re.IGNORECASE)
_AGE = re.compile(r"\d{1,10}", re.ASCII)

_CHECK_ZERVI = "check that the issuer runs and that {} is right"
_CHECK_ANSWER = "{} must be the URL of the document itself; check its answer"
_ADVICE = {
    HttpFault.CERTIFICATE: (
        "set ca_file to the CA of the certificate, and use a host name that it contains"
    ),
    HttpFault.TLS: "check that the port speaks TLS",
    HttpFault.NOT_HTTP: _CHECK_ANSWER,
    HttpFault.URL: "check that {} is a valid URL",
    HttpFault.PROXY: "check HTTPS_PROXY and NO_PROXY, or set jwks.proxy_from_environment to false",
}


class Documents:
    """Fetches the documents of one issuer.

    Its own token is only sent to the server of ``source.url``: a document of the issuer must not
    send it elsewhere.
    """

    def __init__(self, source: JwksUrl) -> None:
        self._ca_file = source.ca_file
        self._token_file = source.token_file
        self._server = _server(source.url)
        self._client = HttpClient(TlsFiles(source.ca_file), source.proxies)

    async def get(self, url: str, key: str, validator: str | None = None) -> Fetched:
        """Fetch once; redirects are refused. Raises FetchError.

        ``key`` is the configuration's or the document's name for the URL.
        """
        try:
            return await self._get(url, key, validator)
        except TrustError as error:
            cause = f"ca_file {self._ca_file} cannot be used: {error.reason}"
            raise FetchError(cause, "make it a readable PEM file of CA certificates") from error
        except HttpError as error:
            advice = _ADVICE.get(error.fault, _CHECK_ZERVI).format(key)
            raise FetchError(str(error), advice) from error

    async def _get(self, url: str, key: str, validator: str | None) -> Fetched:
        headers = {"accept": "application/jwk-set+json, application/json"}
        if validator is not None:
            headers["if-none-match"] = validator
        if self._token_file is not None and _server(url) == self._server:
            token = await read_token("jwks_token_file", self._token_file, None)
            headers["authorization"] = f"Bearer {token}"
        async with self._client.send("GET", url, headers=headers) as response:
            max_age = freshness(response.header("cache-control"), response.header("age"))
            if response.status == 304 and validator is not None:
                return Fetched(None, validator, max_age)
            _require_document(response, key)
            body = await read_body(response, MAX_DOCUMENT_BYTES)
            if body is None:
                raise _too_large(key)
            encoding = response.header("content-encoding").strip().lower()
            if encoding not in ("", "identity"):
                body = _decompressed(body, encoding, key)
            return Fetched(body, response.entity_tag(), max_age)


class HttpFetcher:
    """Fetches the document of one URL."""

    def __init__(self, source: JwksUrl) -> None:
        self.where = shown(source.url)
        self._url = source.url
        self._documents = Documents(source)

    async def fetch(self, validator: str | None) -> Fetched:
        """Fetch once. Raises FetchError."""
        return await self._documents.get(self._url, "jwks_url", validator)


def shown(url: str) -> str:
    """Return a URL for logs, without credentials and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def freshness(cache_control: str, age: str) -> float | None:
    """Return the freshness lifetime in seconds: max-age less Age (RFC 9111, 4.2).

    None where there is no valid max-age.
    """
    lifetimes = [int(seconds) for seconds in _MAX_AGE.findall(cache_control)]
    if not lifetimes:
        return None
    return float(max(0, min(lifetimes) - (int(age) if _AGE.fullmatch(age) else 0)))


def _require_document(response: Response, key: str) -> None:
    """Refuse an answer by its head. The content-type is not checked: the body is parsed."""
    status = response.status
    if 300 <= status < 400:
        raise FetchError(
            f"status {status}: redirects are not followed", f"put the final address into {key}"
        )
    if status in (401, 403):
        advice = "the server expects credentials: set jwks_token_file, or let everyone read {}"
        raise FetchError(f"status {status}", advice.format(key))
    if status != 200:
        advice = _CHECK_ZERVI if status >= 500 else _CHECK_ANSWER
        raise FetchError(f"status {status}", advice.format(key))


def _decompressed(body: bytes, encoding: str, key: str) -> bytes:
    """Return the content of a body that was compressed unasked. Raises FetchError."""
    if encoding not in ("gzip", "x-gzip"):
        raise FetchError("the body is compressed, and not by gzip", "serve it uncompressed")
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = gzip.decompress(body, MAX_DOCUMENT_BYTES + 1)
    except zlib.error:
        raise FetchError("the body is not valid gzip", "serve it uncompressed") from None
    if len(content) > MAX_DOCUMENT_BYTES:
        raise _too_large(key)
    if not gzip.eof or gzip.unused_data:
        raise FetchError("the body is not one whole gzip stream", "serve it uncompressed")
    return content


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        return (
            parts.scheme,
            parts.hostname,
            parts.port or {"http": 80, "https": 443}.get(parts.scheme),
        )
    except ValueError:  # the client refuses it
        return "", None, None


def _too_large(key: str) -> FetchError:
    cause = f"the body is larger than {MAX_DOCUMENT_BYTES // 1024} KiB"
    return FetchError(cause, _CHECK_ANSWER.format(key))

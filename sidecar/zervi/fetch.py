"""Fetches one key set over HTTP, from a server that may be slow, wrong or hostile."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.core.tokens.key_sets import MAX_DOCUMENT_BYTES
from sidecar.net.http_client import HttpClient, HttpError, HttpFault, Response, read_body
from sidecar.net.trust import TlsFiles, TrustError
from sidecar.zervi.interface import Answer, FetchError

# An entity tag that can be sent back unchanged (RFC 9110, 8.8.3), without obs-text. A tag that is
# longer than this limit is ignored: the server then answers 200 instead of 304.
_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,256}"')
# Ten digits are three hundred years.
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?(\d{1,10})"?\s*(?=,|$)', re.ASCII | re.IGNORECASE)
_AGE = re.compile(r"\d{1,10}", re.ASCII)

_CHECK_ZERVI = "check that Zervi runs and that jwks_url is right"
_CHECK_ANSWER = "jwks_url must be the URL of the JWKS document itself; check its answer"
_ADVICE = {
    HttpFault.CERTIFICATE: (
        "set ca_file to the CA of the certificate, and use a host name that it contains"
    ),
    HttpFault.TLS: "check that the port speaks TLS",
    HttpFault.NOT_HTTP: _CHECK_ANSWER,
    HttpFault.URL: "check that jwks_url is a valid URL",
}


class HttpFetcher:
    """Fetches the document of one URL."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._url = url
        self._ca_file = ca_file
        self._client = HttpClient(TlsFiles(ca_file))

    async def fetch(self, validator: str | None) -> Answer:
        """Fetch once; redirects and compressed bodies are refused. Raises FetchError."""
        try:
            return await self._get(validator)
        except TrustError as error:
            cause = f"ca_file {self._ca_file} cannot be used: {error.reason}"
            raise FetchError(cause, "make it a readable PEM file of CA certificates") from error
        except HttpError as error:
            raise FetchError(str(error), _ADVICE.get(error.fault, _CHECK_ZERVI)) from error

    async def _get(self, validator: str | None) -> Answer:
        headers = {"accept": "application/jwk-set+json, application/json"}
        if validator is not None:
            headers["if-none-match"] = validator
        async with self._client.send("GET", self._url, headers=headers) as response:
            max_age = freshness(response.header("cache-control"), response.header("age"))
            if response.status == 304 and validator is not None:
                return Answer(None, validator, max_age)
            _require_document(response)
            body = await read_body(response, MAX_DOCUMENT_BYTES)
            if body is None:
                raise _too_large()
            etag = response.header("etag")
            return Answer(body, etag if _ETAG.fullmatch(etag) else None, max_age)


def freshness(cache_control: str, age: str) -> float | None:
    """Return the freshness lifetime in seconds: max-age less Age (RFC 9111, 4.2).

    None where there is no valid max-age.
    """
    lifetimes = [int(seconds) for seconds in _MAX_AGE.findall(cache_control)]
    if not lifetimes:
        return None
    return float(max(0, min(lifetimes) - (int(age) if _AGE.fullmatch(age) else 0)))


def _require_document(response: Response) -> None:
    """Refuse an answer by its head. The content-type is not checked: the body is parsed."""
    status = response.status
    if 300 <= status < 400:
        raise FetchError(
            f"status {status}: redirects are not followed",
            "put the final address into jwks_url",
        )
    if status != 200:
        raise FetchError(f"status {status}", _CHECK_ZERVI if status >= 500 else _CHECK_ANSWER)
    if response.header("content-encoding").strip().lower() not in ("", "identity"):
        raise FetchError("the body is compressed", "serve it uncompressed")


def _too_large() -> FetchError:
    return FetchError(f"the body is larger than {MAX_DOCUMENT_BYTES // 1024} KiB", _CHECK_ANSWER)

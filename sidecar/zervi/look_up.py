"""Asks Zervi over HTTP for permissions and verdicts, whatever it answers."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlencode

from sidecar.core.tokens.zervi_answers import (
    MAX_ANSWER_BYTES,
    AnswerError,
    json_of,
    permissions_in,
    verdict_in,
)
from sidecar.net.http_client import HttpClient, HttpError, HttpFault, Response, read_body
from sidecar.net.trust import TlsFiles, TrustError
from sidecar.zervi.asking import Found
from sidecar.zervi.credentials import Credential
from sidecar.zervi.fetch import shown
from sidecar.zervi.interface import FetchError

_CHECK_ZERVI = "check that Zervi runs and that `url` is right"
_CHECK_ANSWER = "`url` must be that of the look-up itself; check its answer"
_ADVICE: Final = {
    HttpFault.CERTIFICATE: "set `ca_file`, and use a host name that the certificate contains",
    HttpFault.TLS: "check that the port speaks TLS",
    HttpFault.NOT_HTTP: _CHECK_ANSWER,
    HttpFault.URL: "check that `url` is a valid URL",
}
_JSON: Final = {"accept": "application/json"}

# Statuses of a client's fault, which some versions of Zervi may send for a token that is not valid.
# The body decides: only what it says counts.
_REFUSALS: Final = frozenset({400, 401, 403, 404, 422})

# Statuses that say nothing of the question: of the sidecar's credentials, of load, of a proxy.
_OUTAGES: Final = frozenset({401, 403, 407, 408, 429, 502, 503, 504})


class PermissionsSource(NamedTuple):
    """Where permissions are looked up; ``url`` has ``{subject}``. Times in seconds."""

    url: str
    ttl: float
    max_stale: float
    wait: float
    credential: Credential | None = None
    ca_file: Path | None = None


class VerdictSource(NamedTuple):
    """Which server says whether tokens are active. Times in seconds."""

    issuer: str
    kind: Literal["rfc7662", "zervi"]
    url: str
    ttl: float
    max_stale: float
    wait: float
    credential: Credential | None = None
    ca_file: Path | None = None


class PermissionsLookUp:
    """Looks a user's permissions up."""

    def __init__(self, source: PermissionsSource) -> None:
        self.where = shown(source.url)
        self._url = source.url
        self._calls = _Calls(source.credential, source.ca_file)

    async def find(self, key: str, token: bytes) -> Found:  # noqa: ARG002 -- a protocol's method
        """Ask for one user's permissions. Raises FetchError."""
        url = self._url.replace("{subject}", quote(key, safe=""))
        status, value = await self._calls.ask("GET", url, accepted=frozenset({200, 404}))
        if status == 404:
            return Found(None, negative=True)
        try:
            granted = permissions_in(value, key)
        except AnswerError as error:
            raise _meaningless(error) from None
        return Found(granted, negative=granted is None)


class VerdictLookUp:
    """Asks whether a token is active."""

    def __init__(self, source: VerdictSource, wall: Callable[[], float] = time.time) -> None:
        self.where = shown(source.url)
        self._source = source
        self._wall = wall
        self._calls = _Calls(source.credential, source.ca_file)

    async def find(self, key: bytes, token: bytes) -> Found:  # noqa: ARG002 -- as above
        """Ask about one token. Raises FetchError."""
        source, text = self._source, token.decode("ascii", "replace")
        if source.kind == "rfc7662":  # section 2.1
            content = urlencode({"token": text, "token_type_hint": "access_token"}).encode()
            media, accepted = "application/x-www-form-urlencoded", frozenset({200})
        else:
            content, media = json.dumps({"token": text}).encode(), "application/json"
            accepted = _REFUSALS | {200}
        status, value = await self._calls.ask(
            "POST", source.url, {"content-type": media}, content, accepted=accepted
        )
        try:
            claims = verdict_in(value, source.kind)
        except AnswerError as error:
            raise _meaningless(error) from None
        if claims is None:
            return Found(None, negative=True)
        if status != 200:
            cause = f"status {status} for a token that it calls valid"
            raise FetchError(cause, _CHECK_ANSWER, answered=True)
        expires = claims.get("exp")
        if isinstance(expires, bool) or not isinstance(expires, int | float):
            return Found(claims)  # core refuses an exp that is not a number
        return Found(claims, life=max(0.0, expires - self._wall()))


class _Calls:
    """Sends requests to one server, and reads JSON."""

    def __init__(self, credential: Credential | None, ca_file: Path | None) -> None:
        self._credential = credential
        self._client = HttpClient(TlsFiles(ca_file))

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        *,
        accepted: frozenset[int],
    ) -> tuple[int, Any]:
        """Return status and body of an answer with one of these statuses. Raises FetchError."""
        sent = {**_JSON, **(headers or {})}
        if self._credential is not None:
            sent["authorization"] = await self._credential.header()
        try:
            async with self._client.send(method, url, headers=sent, content=content) as response:
                _check_status(response, accepted)
                if response.status == 404 and method == "GET":
                    return 404, None
                return response.status, await _json(response)
        except TrustError as error:
            cause = f"ca_file cannot be used: {error.reason}"
            raise FetchError(cause, "make it a readable PEM file of CA certificates") from error
        except HttpError as error:
            raise FetchError(str(error), _ADVICE.get(error.fault, _CHECK_ZERVI)) from error


def _check_status(response: Response, accepted: frozenset[int]) -> None:
    status = response.status
    if status in accepted:
        return
    if 300 <= status < 400:
        cause = f"status {status}: redirects are not followed"
        raise FetchError(cause, "put the final address into `url`", answered=True)
    advice = _CHECK_ZERVI if status >= 500 else _CHECK_ANSWER
    if status in (401, 403):
        advice = "Zervi does not accept the sidecar's own token or credentials"
    raise FetchError(f"status {status}", advice, answered=status not in _OUTAGES)


async def _json(response: Response) -> Any:
    body = await read_body(response, MAX_ANSWER_BYTES)
    if body is None:
        cause = f"the body is larger than {MAX_ANSWER_BYTES // 1024} KiB"
        raise FetchError(cause, _CHECK_ANSWER, answered=True)
    if response.header("content-encoding").strip().lower() not in ("", "identity"):
        raise FetchError("the body is compressed", "serve it uncompressed", answered=True)
    try:
        return json_of(body)
    except AnswerError as error:
        raise _meaningless(error) from None


def _meaningless(error: AnswerError) -> FetchError:
    return FetchError(f"the answer is not usable: {error}", _CHECK_ANSWER, answered=True)

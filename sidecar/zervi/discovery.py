"""Finds an issuer's key set by its OpenID configuration (OpenID Connect Discovery, section 4)."""

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.core.tokens import strict_json
from sidecar.core.tokens.near_misses import near_issuer
from sidecar.core.tokens.wrong_documents import known_by_its_beginning
from sidecar.zervi.fetch import Documents, shown
from sidecar.zervi.interface import Fetched, FetchError, JwksUrl

DISCOVERY_INTERVAL: Final = 3600.0
"""Seconds after which the configuration is fetched again; also after each failed fetch of keys.
Issuers change ``jwks_uri`` next to never, so most fetches of keys are one request."""

MAX_ADDRESS: Final = 2048  # characters; longer URLs pass few servers

_WRONG = "the OpenID configuration is not usable: "
_ADVICE = "check that `issuer` is exactly the issuer of its tokens, or set jwks_url"


class DiscoveryFetcher:
    """Fetches the key set that an issuer's OpenID configuration names."""

    def __init__(self, source: JwksUrl, clock: Callable[[], float] = time.monotonic) -> None:
        self.where = shown(source.url)
        self._source = source
        self._documents = Documents(source)
        self._clock = clock
        self._jwks_uri: str | None = None
        self._found_at = 0.0
        self._validated: str | None = None  # where the latest key set came from

    async def fetch(self, validator: str | None) -> Fetched:
        """Fetch the key set, after its address where that is not known. Raises FetchError."""
        address = self._jwks_uri
        if address is None or self._clock() - self._found_at >= DISCOVERY_INTERVAL:
            self._jwks_uri = None
            address = await self._discover()
        self._jwks_uri = None  # unless the key set comes
        try:
            known = validator if address == self._validated else None
            answer = await self._documents.get(address, "jwks_uri", known)
        except FetchError as error:
            cause = f"{error.cause} (jwks_uri {shown(address)})"
            raise FetchError(cause, error.advice) from error
        self._jwks_uri = self._validated = address
        return answer

    async def _discover(self) -> str:
        answer = await self._documents.get(self._source.url, "issuer")
        value = _read(answer.body or b"")
        issuer = value.get("issuer")
        if issuer != self._source.issuer:
            named = f" {issuer}" if _url(issuer) else ""
            near = near_issuer(issuer, [self._source.issuer])
            raise FetchError(f"{_WRONG}it is that of another issuer{named}{near}", _ADVICE)
        address = _url(value.get("jwks_uri"))
        if address is None:
            raise FetchError(f"{_WRONG}it has no valid jwks_uri", _ADVICE)
        scheme = urlsplit(address).scheme
        if scheme != "https" and scheme != urlsplit(self._source.url).scheme:
            raise FetchError(f"{_WRONG}its jwks_uri is not an https URL", _ADVICE)
        self._found_at = self._clock()
        return address


def _read(document: bytes) -> dict[str, Any]:
    what = known_by_its_beginning(document)
    if what is None:
        try:
            value = strict_json.loads(document)
        except strict_json.StrictJsonError as error:
            what = str(error)
        else:
            if isinstance(value, dict) and "keys" not in value:
                return value
            what = "it is a JWKS" if isinstance(value, dict) else "not a JSON object"
    raise FetchError(_WRONG + what, _ADVICE)


def _url(value: object) -> str | None:
    """Return a URL with a host, in visible ASCII and without credentials; None for all else."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ADDRESS:
        return None
    if not value.isascii() or not value.isprintable() or " " in value or "@" in value:
        return None
    try:
        return value if urlsplit(value).hostname else None
    except ValueError:
        return None

"""The settings of this room, and the types that its modules share."""

from pathlib import Path
from typing import NamedTuple, Protocol

from sidecar.net.proxy import Proxies


class JwksUrl(NamedTuple):
    """An issuer whose key set is fetched over HTTP.

    ``ca_file`` (PEM) has the only trusted CAs for https; None: the system's CAs. With ``discovery``
    the URL is that of the issuer's OpenID configuration, which names the key set's. ``token_file``
    has a token for the URL's server. ``proxies`` are for https; None: none.
    """

    issuer: str
    algorithms: frozenset[str]
    url: str
    ca_file: Path | None = None
    discovery: bool = False
    token_file: Path | None = None
    proxies: Proxies | None = None


class JwksFile(NamedTuple):
    """An issuer whose key set is a file that another process updates."""

    issuer: str
    algorithms: frozenset[str]
    path: Path


Source = JwksUrl | JwksFile


class RefreshSettings(NamedTuple):
    """How key sets are refreshed; all times are in seconds.

    ``refresh`` is the interval between fetches, ``timeout`` bounds one fetch from name lookup to
    last byte, keys older than ``max_stale`` are not used, ``cooldown`` limits fetches for unknown
    keys. ``snapshot_file`` keeps the last good sets over a restart; None: not kept.
    """

    refresh: float = 300.0
    timeout: float = 3.0
    max_stale: float = 86400.0
    cooldown: float = 30.0
    snapshot_file: Path | None = None


class Fetched(NamedTuple):
    """The result of one fetch.

    ``body`` is None if the document has not changed since the ``validator`` that was sent.
    ``validator`` is the document's (an ETag, a digest) or None. ``max_age`` is its freshness
    lifetime in seconds or None.
    """

    body: bytes | None
    validator: str | None = None
    max_age: float | None = None


class FetchError(Exception):
    """A failed fetch: the cause, and advice for the operator; both without secrets.

    ``answered`` says that the source answered, so that the fault may be that of the question.
    """

    def __init__(self, cause: str, advice: str, *, answered: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.advice = advice
        self.answered = answered


class Fetcher(Protocol):
    """A source of an issuer's document; ``where`` is its place, without secrets."""

    where: str

    async def fetch(self, validator: str | None) -> Fetched:
        """Fetch once; the caller sets the deadline and may cancel. Raises FetchError."""

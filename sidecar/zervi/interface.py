"""What the parts of this room hand each other, and its settings."""

from pathlib import Path
from typing import NamedTuple, Protocol


class JwksUrl(NamedTuple):
    """An issuer whose key set is fetched over HTTP.

    ``ca_file`` (PEM) is whom alone to trust for https; None trusts what the system trusts.
    """

    issuer: str
    algorithms: frozenset[str]
    url: str
    ca_file: Path | None = None


class JwksFile(NamedTuple):
    """An issuer whose key set is a file that somebody else keeps up to date."""

    issuer: str
    algorithms: frozenset[str]
    path: Path


Source = JwksUrl | JwksFile


class RefreshSettings(NamedTuple):
    """How key sets are kept fresh; all times in seconds.

    ``refresh`` lies between two fetches, ``timeout`` bounds one from name lookup to last byte, keys
    older than ``max_stale`` count no longer, ``cooldown`` rations fetches for unknown keys.
    ``snapshot_file`` keeps the last good sets over a restart; None keeps nothing.
    """

    refresh: float = 300.0
    timeout: float = 3.0
    max_stale: float = 86400.0
    cooldown: float = 30.0
    snapshot_file: Path | None = None


class Answer(NamedTuple):
    """What one fetch brought.

    ``body`` None says that nothing changed since the ``validator`` that was sent. ``validator`` is
    the document's own (an ETag, a digest), None where it has none. ``max_age`` is for how many
    seconds the issuer calls it fresh, None where it does not say.
    """

    body: bytes | None
    validator: str | None = None
    max_age: float | None = None


class FetchError(Exception):
    """No key set could be had: the cause, and what an operator can do; both free of secrets."""

    def __init__(self, cause: str, advice: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.advice = advice


class Fetcher(Protocol):
    """Where an issuer's document comes from; ``where`` tells an operator, without any secret."""

    where: str

    async def fetch(self, validator: str | None) -> Answer:
        """Fetch once; the caller sets the deadline and may cancel. Raises FetchError."""

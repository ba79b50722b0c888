"""The settings of this room, and the types that its modules share."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from sidecar.net.trust import TlsFiles
from sidecar.zervi.local_file import read_token

MAX_CURSOR: Final = 1024  # characters; it is part of each request's URL

ANSWER_SECONDS: Final = 10.0
"""For one answer, from name lookup to last byte: a page of 16 MiB at 2 MiB a second."""


class FeedSource(NamedTuple):
    """Where the feed is: an http(s) or redis(s) URL, and what it takes to be let in.

    ``token_file`` or ``token_env`` (a variable's name) has a bearer token, or for Redis the
    password.
    """

    url: str
    tls: TlsFiles = TlsFiles()
    token_file: Path | None = None
    token_env: str | None = None
    username: str | None = None

    @property
    def in_redis(self) -> bool:
        """Whether the URL is that of a Redis or Valkey server."""
        return self.url.startswith("redis")

    async def secret(self) -> str | None:
        """Return the token or password as it is now. Raises FetchError."""
        if self.token_file is None and self.token_env is None:
            return None
        return await read_token("`token`", self.token_file, self.token_env)


class FeedSettings(NamedTuple):
    """The feed, and how it is followed; times in seconds.

    ``issuers`` are the names of those whose tokens it revokes. ``retain`` is for how long it lists
    an entry. From ``max_stale`` after its last good answer on, ``deny_stale`` denies those tokens;
    otherwise the last entries go on to count.
    """

    source: FeedSource
    issuers: frozenset[str]
    poll: float = 5.0
    retain: float = 8 * 86400.0
    max_stale: float = 600.0
    deny_stale: bool = False
    snapshot_file: Path | None = None


class Sink(Protocol):
    """Takes the entries of a feed, of which some may be wrong."""

    def add(self, entry: object) -> None:
        """Take one. Raises FetchError only if there are too many in all."""

    def check(self) -> None:
        """Raise FetchError if an entry since the last call was wrong."""


class Feed(Protocol):
    """A feed. ``where`` is its place, without secrets; ``cursor`` how far it was read."""

    where: str
    cursor: str | None

    async def read(self, sink: Sink, *, whole: bool) -> None:
        """Pass on what is new since ``cursor``, or with ``whole`` everything. Raises FetchError.

        It returns when all that was there at the time of the call is passed on.
        """

    async def follow(self, on_message: Callable[[bytes], None]) -> None:
        """Call ``on_message`` with each message about a change, until cancelled; never raises.

        A feed without messages returns immediately.
        """

    async def close(self) -> None:
        """Close connections."""

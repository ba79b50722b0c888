"""The feed in Redis or Valkey: a sorted set of entries, and a channel on which each is published.

A member is an entry as JSON, its score is when it was added, in seconds since the epoch. Zervi
calls ``ZADD zervi:revocations SCORE ENTRY`` and ``PUBLISH zervi:revocations ENTRY``, and drops
entries that are older than ``retain`` with ``ZREMRANGEBYSCORE``.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sidecar.core.tokens import strict_json
from sidecar.net.logs import once_a_minute
from sidecar.zervi.interface import FetchError
from sidecar.zervi.revocation.interface import ANSWER_SECONDS, FeedSource, Sink
from sidecar.zervi.revocation.resp import MAX_MEMBER_BYTES, OVERSIZE, BoundedParser
from sidecar.zervi.schedule import Schedule

KEY: Final = "zervi:revocations"
"""Of the sorted set, and the name of the channel."""

PAGE: Final = 250  # members of one answer: redis-py takes some 4 ms for them, in one turn

OVERLAP_SECONDS: Final = 60.0
"""Before the latest score: those who revoke have different clocks, and one may be late."""

MAX_PAGES: Final = 20_000  # of one reading: ZSCAN may return few members at a time

PING_SECONDS: Final = 15.0  # without a message; a connection that is dead is noticed then

_PORT: Final = 6379
_ACL: Final = "allow the user +role +zrangebyscore +zscan +subscribe +ping ~{0} &{0}"

_log = logging.getLogger("sidecar.zervi")


class RedisFeed:
    """Reads the sorted set; see ``Feed``. Its cursor is the latest score."""

    def __init__(self, source: FeedSource) -> None:
        parts = urlsplit(source.url)
        self.where = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self.cursor: str | None = None
        self._source = source
        self._latest = float("-inf")  # of the scores that were read
        self._read_at = float("-inf")  # when the latest good reading began, by the wall clock
        self._client: redis.asyncio.Redis | None = None

    async def read(self, sink: Sink, *, whole: bool) -> None:
        """Read the members since the latest score, less OVERLAP_SECONDS, or all of them."""
        began = time.time()
        async with self._errors():
            if self._client is None:
                self._client = await self._connection()
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._require_master(self._client)
            since = min(self._latest, self._read_at) - OVERLAP_SECONDS
            pages = self._all(self._client) if whole else self._since(self._client, since)
            latest = self._latest
            async for page in pages:
                for member, score in page:
                    sink.add(_entry(member))
                    latest = max(latest, score)
                await asyncio.sleep(0)
        sink.check()
        self._latest, self._read_at = latest, began

    async def follow(self, on_message: Callable[[bytes], None]) -> None:
        """Subscribe to the channel, again and again."""
        schedule = Schedule(PING_SECONDS, Random())  # noqa: S311 -- jitter, no secret
        while True:
            try:
                await self._listen(on_message, schedule)
            except Exception as error:  # noqa: BLE001 -- whatever answered, messages must go on
                cause = error.cause if isinstance(error, FetchError) else type(error).__name__
                text = "revocations: no messages from %s: %s; it is still read in turns"
                _log.info(text, self.where, cause, extra=once_a_minute("revocation messages"))
            await asyncio.sleep(schedule.after_failure(urgent=True))

    async def close(self) -> None:
        """Close the connection for reading."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _listen(self, on_message: Callable[[bytes], None], schedule: Schedule) -> None:
        client = await self._connection()
        try:
            async with client.pubsub() as channel:
                await channel.subscribe(KEY)
                while True:
                    message = await channel.get_message(timeout=PING_SECONDS)
                    if message is None:
                        await channel.ping()
                    elif message["type"] == "subscribe":
                        schedule.after_success(None)
                        on_message(b"")  # what was published before is read
                    elif message["type"] == "message":
                        on_message(message["data"])
                    await asyncio.sleep(0)  # a flood of messages does not stop the event loop
        finally:
            await client.aclose()

    async def _connection(self) -> redis.asyncio.Redis:
        """Return a client, which connects when it is used. Raises FetchError."""
        parts = urlsplit(self._source.url)
        options: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port or _PORT,
            "db": int(parts.path[1:] or 0),
            "username": self._source.username,
            "password": await self._source.secret(),
            "protocol": 2,
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": ANSWER_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # the follower's schedule decides
            "parser_class": BoundedParser,
        }
        kind: type[redis.asyncio.Connection] = redis.asyncio.Connection
        if parts.scheme == "rediss":
            kind = redis.asyncio.SSLConnection
            tls = self._source.tls
            options |= {
                "ssl_ca_certs": tls.ca_file and str(tls.ca_file),
                "ssl_certfile": tls.cert_file and str(tls.cert_file),
                "ssl_keyfile": tls.key_file and str(tls.key_file),
            }
        pool = redis.asyncio.ConnectionPool(kind, max_connections=2, **options)
        return redis.asyncio.Redis.from_pool(pool)

    async def _require_master(self, client: redis.asyncio.Redis) -> None:
        """Raise FetchError for a replica without its master: its entries may be old."""
        try:
            role: object = await client.execute_command("ROLE")  # type: ignore[no-untyped-call] # redis-py has no types for it
        except redis.exceptions.NoPermissionError:
            return
        if isinstance(role, list) and role[:1] == [b"slave"] and role[3:4] != [b"connected"]:
            raise FetchError("a replica that has lost its master", "check the replication")

    async def _since(
        self, client: redis.asyncio.Redis, score: float
    ) -> AsyncIterator[Sequence[tuple[bytes, float]]]:
        for number in range(MAX_PAGES):
            async with asyncio.timeout(ANSWER_SECONDS):
                page: Any = await client.zrangebyscore(
                    KEY, score, "+inf", start=number * PAGE, num=PAGE, withscores=True
                )
            yield page
            if len(page) < PAGE:
                return
        raise FetchError(f"more than {MAX_PAGES:,} pages", "remove entries older than retain")

    async def _all(
        self, client: redis.asyncio.Redis
    ) -> AsyncIterator[Sequence[tuple[bytes, float]]]:
        answer: Any = 0, ()
        for _ in range(MAX_PAGES):
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await client.zscan(KEY, answer[0], count=PAGE)
            yield answer[1]
            if not answer[0]:
                return
        raise FetchError(f"more than {MAX_PAGES:,} pages", "remove entries older than retain")

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Raise FetchError for what Redis or the network says; the next reading connects anew."""
        try:
            yield
        except BaseException as error:
            client, self._client = self._client, None
            if client is not None:
                await client.aclose()
            if isinstance(error, Exception) and not isinstance(error, FetchError):
                raise _feed_error(error) from error
            raise


def entry_of(message: bytes) -> object | None:
    """Return the entry in a message, None where it is not JSON."""
    try:
        return strict_json.loads(message) if message else None
    except strict_json.StrictJsonError:
        return None


def _entry(member: bytes) -> object:
    """Return a member's entry; text, which is none, where it is not one."""
    if member == OVERSIZE:
        return f"a member of more than {MAX_MEMBER_BYTES} bytes"
    entry = entry_of(member)
    return "a member that is not JSON" if entry is None else entry


def _feed_error(error: Exception) -> FetchError:
    """Return the cause and what to do, without anything that the server sent but its code."""
    text = str(error)
    errors = redis.exceptions
    if isinstance(error, errors.AuthenticationError | errors.AuthenticationWrongNumberOfArgsError):
        return FetchError("wrong user or password", "correct `username` and `token` of revocation")
    if isinstance(error, errors.NoPermissionError):
        return FetchError("no permission to read it", _ACL.format(KEY))
    if isinstance(error, errors.TimeoutError | TimeoutError):
        cause = f"no answer within {ANSWER_SECONDS:g} s"
        return FetchError(cause, "check the server's load and the network")
    if isinstance(error, errors.ResponseError):
        if text.startswith(("NOAUTH", "WRONGPASS")):
            return FetchError("it needs a password", "set `token` of revocation")
        if text.startswith("WRONGTYPE"):
            cause = f"the key {KEY} holds other data than a sorted set"
            return FetchError(cause, "another program uses this database: use another number")
        code = text.partition(" ")[0]
        known = code if code.isascii() and code.isupper() and len(code) <= 20 else "an error"
        return FetchError(f"the server answers {known}", "see the server's log")
    if not isinstance(error, errors.ConnectionError | OSError):  # such as a list for a number
        return FetchError("the answer is not Redis' protocol", "check `redis` of revocation")
    reason = getattr(error.__cause__ or error.__context__ or error, "strerror", None)
    reason = reason or type(error).__name__
    return FetchError(f"no connection: {str(reason).lower()}", "check that the server runs")

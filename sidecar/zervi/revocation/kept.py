"""The feed's entries on disk, for a restart while Zervi is down.

It holds marks with their key and no names: who reads the file learns of no user. A line of JSON,
then marks, times and last listings of all entries, each in little-endian order.
"""

import asyncio
import hashlib
import json
import logging
import math
import sys
from array import array
from pathlib import Path
from typing import Any, Final, NamedTuple

from sidecar.core.tokens import strict_json
from sidecar.core.tokens.revocations import MAX_ENTRIES, Entries
from sidecar.zervi.revocation.interface import MAX_CURSOR, FeedSource
from sidecar.zervi.snapshot_file import SnapshotFileError, read, write

WRITE_SECONDS: Final = 10.0  # at least between two writings because of new entries

_ENTRY_BYTES: Final = 20
_KEY_BYTES: Final = 16
_MAX_HEAD: Final = 16 * 1024
MAX_KEPT_BYTES: Final = _MAX_HEAD + _ENTRY_BYTES * MAX_ENTRIES
_MAX_TIME: Final = 253402300799
_A_TURN: Final = 500  # entries, within two milliseconds

_log = logging.getLogger("sidecar.zervi")


class Found(NamedTuple):
    """What the file has. ``as_of`` is by the wall clock: when the latest good reading began."""

    entries: Entries
    cursor: str | None
    as_of: float


class KeptFile:
    """The file of one feed, read once and written in the background.

    ``period`` is the seconds after which it is written even where no entry is new.
    """

    def __init__(self, path: Path, source: FeedSource, period: float) -> None:
        self.path = path
        self.source = source
        self._period = period
        self._wanted: Found | None = None
        self._writer: asyncio.Task[None] | None = None
        self._written_at = float("-inf")
        self._closing = asyncio.Event()
        self._problem = ""

    async def load(self) -> Found | None:
        """Return what the file has, None where it is missing or not usable, which is logged."""
        try:
            content = await asyncio.to_thread(read, self.path, MAX_KEPT_BYTES)
            return await self.decoded(content)
        except FileNotFoundError:
            return None
        except (OSError, SnapshotFileError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            _log.warning("snapshot file %s is not used: %s", self.path, cause)
            return None

    def keep(self, entries: Entries, cursor: str | None, as_of: float, *, changed: bool) -> None:
        """Write this soon where something has changed, or the file is old."""
        now = asyncio.get_running_loop().time()
        if not changed and now - self._written_at < self._period:
            return
        self._wanted = Found(entries, cursor, as_of)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_while_wanted())

    async def close(self) -> None:
        """Write what is wanted now."""
        self._closing.set()
        if self._writer is not None:
            await self._writer

    async def decoded(self, content: bytes) -> Found:
        """Return what the content of a file says. Raises SnapshotFileError."""
        head, body = await asyncio.to_thread(_checked, content, self.source)
        count = len(body) // _ENTRY_BYTES
        marks, times, seen = array("Q"), array("d"), array("I")
        marks.frombytes(body[: 8 * count])
        times.frombytes(body[8 * count : 16 * count])
        seen.frombytes(body[16 * count :])
        if sys.byteorder == "big":
            for column in (marks, times, seen):
                column.byteswap()
        entries = Entries(bytes.fromhex(head["key"]))
        entries.names_issuers = head["names_issuers"]
        for number, (mark, time, listed) in enumerate(zip(marks, times, seen, strict=True)):
            if not mark or not 0 <= time <= _MAX_TIME:
                raise SnapshotFileError("an entry is not as it was written")
            entries.restore(mark, time, listed)
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
        return Found(entries, head["cursor"], head["as_of"])

    async def _write_while_wanted(self) -> None:
        loop = asyncio.get_running_loop()
        while self._wanted is not None:
            wait = self._written_at + WRITE_SECONDS - loop.time()
            try:
                async with asyncio.timeout(max(wait, 0)):
                    await self._closing.wait()
            except TimeoutError:
                pass
            wanted, self._wanted = self._wanted, None
            self._written_at = loop.time()
            problem = ""
            try:
                await asyncio.to_thread(write, self.path, await self._encoded(wanted))
            except OSError as error:
                problem = (error.strerror or type(error).__name__).lower()
            if problem and problem != self._problem:
                _log.warning(
                    "snapshot file %s cannot be written: %s; a restart while the feed is down will"
                    " deny requests; make its directory writable for this process",
                    self.path,
                    problem,
                )
            self._problem = problem
        self._writer = None

    async def _encoded(self, found: Found) -> bytes:
        marks, times, seen = array("Q"), array("d"), array("I")
        for shard in found.entries.shards:
            for mark, time, listed in shard.entries():
                marks.append(mark)
                times.append(time)
                seen.append(listed)
            await asyncio.sleep(0)
        return await asyncio.to_thread(_packed, found, self.source, (marks, times, seen))


def _packed(found: Found, source: FeedSource, columns: "tuple[array[Any], ...]") -> bytes:
    if sys.byteorder == "big":
        for column in columns:
            column.byteswap()
    body = b"".join(column.tobytes() for column in columns)
    head = {
        "feed_sha256": _digest(source),
        "key": found.entries.key.hex(),
        "names_issuers": found.entries.names_issuers,
        "cursor": found.cursor,
        "as_of": found.as_of,
    }
    head["sha256"] = _sum(head, body)
    return json.dumps(head).encode() + b"\n" + body


def _checked(content: bytes, source: FeedSource) -> tuple[dict[str, Any], bytes]:
    """Return the head, whose members have the right types, and the body.

    Raises SnapshotFileError.
    """
    line, _, body = content.partition(b"\n")
    if len(line) > _MAX_HEAD:
        raise SnapshotFileError("not a snapshot file of revocations")
    try:
        head = strict_json.loads(line)
    except strict_json.StrictJsonError as error:
        raise SnapshotFileError(f"not a snapshot file of revocations: {error}") from None
    if not isinstance(head, dict) or head.pop("sha256", None) != _sum(head, body):
        raise SnapshotFileError("its checksum is wrong")
    if head.get("feed_sha256") != _digest(source):
        raise SnapshotFileError("it is of another feed")
    key, cursor, as_of = head.get("key"), head.get("cursor"), head.get("as_of")
    if not (
        isinstance(key, str)
        and len(key) == 2 * _KEY_BYTES
        and not set(key) - set("0123456789abcdef")
        and (cursor is None or (isinstance(cursor, str) and len(cursor) <= MAX_CURSOR))
        and isinstance(as_of, int | float)
        and math.isfinite(as_of)
        and isinstance(head.get("names_issuers"), bool)
        and len(body) % _ENTRY_BYTES == 0
        and len(body) <= _ENTRY_BYTES * MAX_ENTRIES
    ):
        raise SnapshotFileError("it is not as it was written")
    return head, body


def _sum(head: dict[str, Any], body: bytes) -> str:
    text = json.dumps(head, sort_keys=True).encode()
    return hashlib.sha256(text + b"\n" + body).hexdigest()


def _digest(source: FeedSource) -> str:
    return hashlib.sha256(source.url.encode()).hexdigest()

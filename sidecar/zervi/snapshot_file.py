"""The last good key sets on disk, so that a restart while Zervi is away still serves.

Written are the keys in force, not the documents they came from: nothing private can get there. What
is read is trusted no more than an answer of Zervi's: it passes the same parser, and the file must
be one that nobody else can have written.
"""

import asyncio
import hashlib
import json
import logging
import math
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sidecar.core.tokens import strict_json
from sidecar.core.tokens.key_sets import MAX_DOCUMENT_BYTES, KeySetError, parse_key_set
from sidecar.core.tokens.keys import Key, KeySet
from sidecar.zervi.interface import JwksUrl

MODE = 0o600
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_log = logging.getLogger("sidecar.zervi")


class SnapshotFileError(Exception):
    """The file, or an entry of it, is not used; the message says why and quotes nothing of it."""


class SnapshotFile:
    """One file for all issuers that are fetched over HTTP; read and written in threads.

    Its times are the wall clock's, since another process reads it; ``ahead`` is by how many seconds
    that is ahead of the clock that ``KeySet.fetched_at`` is of.
    """

    def __init__(
        self,
        path: Path,
        sources: Mapping[int, JwksUrl],
        max_stale: float,
        ahead: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._path = path
        self.sources = sources
        self._max_stale = max_stale
        self._ahead = ahead
        self._sets: dict[int, KeySet] = {}
        self._changed = False
        self._writer: asyncio.Task[None] | None = None
        self._complaint = ""

    async def load(self, now: float) -> Mapping[int, KeySet]:
        """Read what still counts at ``now``, by the issuers' indices.

        ``now`` is seconds since the epoch by the clock that ``KeySet.fetched_at`` is of.
        What cannot be used is left out and logged.
        """
        try:
            entries = decode(await asyncio.to_thread(read, self._path, self._limit()))
        except FileNotFoundError:
            return {}
        except (OSError, SnapshotFileError) as error:
            self._not_used("it", error)
            return {}
        ahead = self._ahead()
        for index, source in self.sources.items():
            try:
                keys = await asyncio.to_thread(
                    keys_of, entries, source, now + ahead, self._max_stale
                )
            except (SnapshotFileError, KeySetError) as error:
                self._not_used(f"the entry of issuer {source.issuer}", error)
            else:
                if keys is not None:
                    self._sets[index] = _moved(keys, -ahead)
        return dict(self._sets)

    def put(self, index: int, keys: KeySet) -> None:
        """Have an issuer's set written soon, the others' as they are."""
        self._sets[index] = keys
        self._changed = True
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_while_changed())

    async def close(self) -> None:
        """Wait for what is still to be written."""
        if self._writer is not None:
            await self._writer

    async def _write_while_changed(self) -> None:
        while self._changed:
            self._changed = False
            ahead = self._ahead()
            sets = {self.sources[index]: _moved(keys, ahead) for index, keys in self._sets.items()}
            complaint = ""
            try:
                await asyncio.to_thread(_write_sets, self._path, sets)
            except OSError as error:
                complaint = _cause(error)
            if complaint and complaint != self._complaint:
                _log.warning(
                    "snapshot file %s cannot be written: %s; a restart while Zervi is away will"
                    " deny requests; make its directory writable for this process",
                    self._path,
                    complaint,
                )
            self._complaint = complaint
        self._writer = None

    def _limit(self) -> int:
        return 2 * MAX_DOCUMENT_BYTES * len(self.sources)  # written out, a set may have grown

    def _not_used(self, what: str, error: Exception) -> None:
        _log.warning("snapshot file %s: %s is not used: %s", self._path, what, _cause(error))


def encode(sets: Mapping[JwksUrl, KeySet]) -> bytes:
    """Write sets as the file's content."""
    entries = [
        {
            "issuer": source.issuer,
            "url_sha256": _url_digest(source),
            "fetched_at": keys.fetched_at,
            "keys": [_jwk(key) for key in keys.keys],
        }
        for source, keys in sets.items()
    ]
    return json.dumps({"sha256": _digest(entries), "issuers": entries}, indent=1).encode()


def decode(content: bytes) -> list[Any]:
    """Read the file's entries. Raises SnapshotFileError unless they are just what was written."""
    try:
        value = strict_json.loads(content)
    except strict_json.StrictJsonError as error:
        raise SnapshotFileError(f"not readable as JSON: {error}") from None
    if not (isinstance(value, dict) and isinstance(value.get("issuers"), list)):
        raise SnapshotFileError("not a snapshot file")
    entries: list[Any] = value["issuers"]
    if value.get("sha256") != _digest(entries):
        raise SnapshotFileError("its checksum is wrong")
    return entries


def keys_of(entries: list[Any], source: JwksUrl, now: float, max_stale: float) -> KeySet | None:
    """Give a source's set; None where no entry is for this issuer and this very URL.

    Times are seconds. Raises SnapshotFileError or KeySetError for an entry that may not be used.
    """
    wanted = (source.issuer, _url_digest(source))
    for entry in entries:
        if not isinstance(entry, dict) or (entry.get("issuer"), entry.get("url_sha256")) != wanted:
            continue
        fetched_at = entry.get("fetched_at")
        if not isinstance(fetched_at, int | float) or not math.isfinite(fetched_at):
            raise SnapshotFileError("its fetched_at is no time")
        if fetched_at > now:
            raise SnapshotFileError("it is from the future; check this machine's clock")
        if fetched_at + max_stale <= now:
            raise SnapshotFileError("it is older than max_stale")
        document = json.dumps({"keys": entry.get("keys")}).encode()
        return parse_key_set(document, algorithms=source.algorithms, fetched_at=fetched_at)
    return None


def read(path: Path, limit: int) -> bytes:
    """Read the file. Raises OSError, or SnapshotFileError where others could have written it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SnapshotFileError("not a regular file")
        if status.st_uid != os.geteuid() or status.st_mode & WRITABLE_BY_OTHERS:
            raise SnapshotFileError("others than this process's user can write it")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise SnapshotFileError(f"larger than {limit // 1024} KiB")
    return content


def write(path: Path, content: bytes) -> None:
    """Replace the file at once and whole, readable for its owner alone. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)  # what a killed process left
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(beside, flags, MODE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # else a power cut may undo the renaming
    finally:
        os.close(directory)


def _moved(keys: KeySet, seconds: float) -> KeySet:
    """Return a set whose time is told by another clock."""
    return keys._replace(fetched_at=keys.fetched_at + seconds)


def _write_sets(path: Path, sets: Mapping[JwksUrl, KeySet]) -> None:
    write(path, encode(sets))


def _jwk(key: Key) -> dict[str, Any]:
    from jwt.algorithms import get_default_algorithms

    family = get_default_algorithms()[min(key.algorithms)]  # the key's type decides, not which
    jwk: dict[str, Any] = family.to_jwk(key.public_key, as_dict=True)
    if key.kid is not None:
        jwk["kid"] = key.kid
    if len(key.algorithms) == 1:
        jwk["alg"] = min(key.algorithms)
    return jwk


def _digest(entries: list[Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _url_digest(source: JwksUrl) -> str:
    return hashlib.sha256(source.url.encode()).hexdigest()  # a URL may hold a password


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return str(error)

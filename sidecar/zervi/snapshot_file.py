"""The last good key sets on disk, for a restart while Zervi is down.

It contains the keys in force, not the fetched documents, so it cannot contain private keys. Its
content passes the same parser as Zervi's answers, and no other user may be able to write the file.
"""

import asyncio
import hashlib
import json
import logging
import math
import os
import stat
from collections.abc import Callable, Collection, Mapping
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
    """The file or an entry is not usable; the message says why and quotes nothing of it."""


class SnapshotFile:
    """One file for all issuers with a jwks_url; read and written in threads.

    Its times are of the wall clock, because another process reads them; ``ahead`` returns how many
    seconds the wall clock is ahead of the clock of ``KeySet.fetched_at``.
    """

    def __init__(
        self,
        path: Path,
        sources: Collection[JwksUrl],
        max_stale: float,
        ahead: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._path = path
        self._sources = sources
        self._max_stale = max_stale
        self._ahead = ahead
        self._sets: dict[JwksUrl, KeySet] = {}
        self._changed = False
        self._writer: asyncio.Task[None] | None = None
        self._problem = ""

    async def load(self, now: float) -> Mapping[JwksUrl, KeySet]:
        """Return the usable sets.

        ``now`` is in seconds since the epoch by the clock of ``KeySet.fetched_at``. Unusable
        entries are ignored and logged.
        """
        try:
            entries = decode(await asyncio.to_thread(read, self._path, self._limit()))
        except FileNotFoundError:
            return {}
        except (OSError, SnapshotFileError) as error:
            self._not_used("the file", error)
            return {}
        ahead = self._ahead()
        for source in self._sources:
            try:
                keys = await asyncio.to_thread(
                    keys_of, entries, source, now + ahead, self._max_stale
                )
            except (SnapshotFileError, KeySetError) as error:
                self._not_used(f"the entry of issuer {source.issuer}", error)
            else:
                if keys is not None:
                    self._sets[source] = _moved(keys, -ahead)
        return dict(self._sets)

    def change(self, path: Path, sources: Collection[JwksUrl]) -> None:
        """Write another file from now on, with the sets of these sources."""
        self._path = path
        self._sources = sources
        self._sets = {source: keys for source, keys in self._sets.items() if source in sources}

    def put(self, source: JwksUrl, keys: KeySet) -> None:
        """Schedule the writing of an issuer's set; the other sets stay unchanged."""
        self._sets[source] = keys
        self._changed = True
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_while_changed())

    async def close(self) -> None:
        """Wait until pending sets are written."""
        if self._writer is not None:
            await self._writer

    async def _write_while_changed(self) -> None:
        while self._changed:
            self._changed = False
            ahead = self._ahead()
            sets = {source: _moved(keys, ahead) for source, keys in self._sets.items()}
            problem = ""
            try:
                await asyncio.to_thread(_write_sets, self._path, sets)
            except OSError as error:
                problem = _cause(error)
            if problem and problem != self._problem:
                _log.warning(
                    "snapshot file %s cannot be written: %s; a restart while Zervi is down will"
                    " deny requests; make its directory writable for this process",
                    self._path,
                    problem,
                )
            self._problem = problem
        self._writer = None

    def _limit(self) -> int:
        return 2 * MAX_DOCUMENT_BYTES * len(self._sources)  # a set may be larger when written

    def _not_used(self, what: str, error: Exception) -> None:
        _log.warning("snapshot file %s: %s is not used: %s", self._path, what, _cause(error))


def encode(sets: Mapping[JwksUrl, KeySet]) -> bytes:
    """Return the file's content for these sets."""
    entries = [
        {
            "issuer": source.issuer,
            "url_sha256": _url_digest(source),
            "fetched_at": keys.fetched_at,
            "keys": [jwk for key in keys.keys for jwk in _jwks(key)],
        }
        for source, keys in sets.items()
    ]
    return json.dumps({"sha256": _digest(entries), "issuers": entries}, indent=1).encode()


def decode(content: bytes) -> list[Any]:
    """Parse the file's entries. Raises SnapshotFileError unless they are as written."""
    try:
        value = strict_json.loads(content)
    except strict_json.StrictJsonError as error:
        raise SnapshotFileError(f"invalid JSON: {error}") from None
    if not (isinstance(value, dict) and isinstance(value.get("issuers"), list)):
        raise SnapshotFileError("not a snapshot file")
    entries: list[Any] = value["issuers"]
    if value.get("sha256") != _digest(entries):
        raise SnapshotFileError("its checksum is wrong")
    return entries


def keys_of(entries: list[Any], source: JwksUrl, now: float, max_stale: float) -> KeySet | None:
    """Return a source's set; None without an entry for this issuer and URL.

    Times are in seconds. Raises SnapshotFileError or KeySetError for an unusable entry.
    """
    wanted = (source.issuer, _url_digest(source))
    for entry in entries:
        if not isinstance(entry, dict) or (entry.get("issuer"), entry.get("url_sha256")) != wanted:
            continue
        fetched_at = entry.get("fetched_at")
        if not isinstance(fetched_at, int | float) or not math.isfinite(fetched_at):
            raise SnapshotFileError("its fetched_at is not a time")
        if fetched_at > now:
            raise SnapshotFileError("its fetched_at is in the future; check this machine's clock")
        if fetched_at + max_stale <= now:
            raise SnapshotFileError("it is older than max_stale")
        document = json.dumps({"keys": entry.get("keys")}).encode()
        return parse_key_set(document, algorithms=source.algorithms, fetched_at=fetched_at)
    return None


def read(path: Path, limit: int) -> bytes:
    """Read the file. Raises OSError, or SnapshotFileError if another user can write it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SnapshotFileError("not a regular file")
        if status.st_uid != os.geteuid() or status.st_mode & WRITABLE_BY_OTHERS:
            raise SnapshotFileError("users other than this process's can write it")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise SnapshotFileError(f"larger than {limit // 1024} KiB")
    return content


def write(path: Path, content: bytes) -> None:
    """Replace the file atomically, readable only for its owner. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)  # left by a killed process
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
        os.fsync(directory)  # otherwise a power failure may undo the rename
    finally:
        os.close(directory)


def _moved(keys: KeySet, seconds: float) -> KeySet:
    """Return a set with its time by another clock."""
    return keys._replace(fetched_at=keys.fetched_at + seconds)


def _write_sets(path: Path, sets: Mapping[JwksUrl, KeySet]) -> None:
    write(path, encode(sets))


def _jwks(key: Key) -> list[dict[str, Any]]:
    """Return a key once for each of its algorithms, so that it verifies no others when read."""
    from jwt.algorithms import get_default_algorithms

    # Any algorithm of the key's type; PyJWT has those of RFC 9864 only as EdDSA.
    named = {"EdDSA" if name.startswith("Ed") else name for name in key.algorithms}
    family = get_default_algorithms()[min(named)]
    jwk: dict[str, Any] = family.to_jwk(key.public_key, as_dict=True)
    if key.kid is not None:
        jwk["kid"] = key.kid
    return [jwk | {"alg": algorithm} for algorithm in sorted(key.algorithms)]


def _digest(entries: list[Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _url_digest(source: JwksUrl) -> str:
    return hashlib.sha256(source.url.encode()).hexdigest()  # a URL may hold a password


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return str(error)

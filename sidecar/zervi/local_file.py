"""Reads one key set from a file that another process updates."""

import asyncio
import hashlib
import os
import stat
from pathlib import Path

from sidecar.core.tokens.key_sets import MAX_DOCUMENT_BYTES
from sidecar.zervi.interface import Answer, FetchError

# Seconds between reads: a change takes effect soon, and reading is cheap.
FILE_REFRESH = 10.0


class FileFetcher:
    """Reads one file; the validator is the digest of its content."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path

    async def fetch(self, validator: str | None) -> Answer:
        """Read once, in a thread. Raises FetchError."""
        try:
            body = await asyncio.to_thread(read_regular_file, self._path, MAX_DOCUMENT_BYTES)
        except OSError as error:
            cause = (error.strerror or type(error).__name__).lower()
            raise FetchError(
                f"the file cannot be read: {cause}", "make jwks_file readable"
            ) from error
        digest = hashlib.sha256(body).hexdigest()
        return Answer(None if digest == validator else body, digest)


def read_regular_file(path: Path, limit: int) -> bytes:
    """Read at most ``limit`` + 1 bytes, so that the caller detects a larger file.

    Raises OSError, also for anything but a regular file: a pipe may never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "not a regular file")
        return file.read(limit + 1)

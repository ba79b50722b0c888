"""Reads what is in files and the environment: a key set, or a token, which others replace."""

import asyncio
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from sidecar.core.tokens.key_sets import MAX_DOCUMENT_BYTES
from sidecar.zervi.interface import Fetched, FetchError

# Seconds between reads: a change takes effect soon, and reading is cheap.
FILE_REFRESH = 10.0

MAX_TOKEN_BYTES: Final = 8 * 1024  # a projected token of Kubernetes has 1 KiB

_VISIBLE = re.compile(r"[!-~]+")


class FileFetcher:
    """Reads one file; the validator is the digest of its content."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path

    async def fetch(self, validator: str | None) -> Fetched:
        """Read once, in a thread. Raises FetchError."""
        try:
            body = await asyncio.to_thread(read_regular_file, self._path, MAX_DOCUMENT_BYTES)
        except OSError as error:
            cause = (error.strerror or type(error).__name__).lower()
            raise FetchError(
                f"the file cannot be read: {cause}", "make jwks_file readable"
            ) from error
        digest = hashlib.sha256(body).hexdigest()
        return Fetched(None if digest == validator else body, digest)


async def read_token(what: str, file: Path | None, env: str | None) -> str:
    """Return the token or secret in a file, else in an environment variable.

    Raises FetchError, whose cause names ``what``.
    """
    if file is None:
        content = os.environb.get((env or "").encode(), b"")
    else:
        try:
            content = await asyncio.to_thread(read_regular_file, file, MAX_TOKEN_BYTES)
        except OSError as error:
            cause = (error.strerror or type(error).__name__).lower()
            advice = "make the file readable for this process"
            raise FetchError(f"{what} cannot be read: {cause}", advice) from error
    text = content.decode("latin-1").strip()
    if len(content) > MAX_TOKEN_BYTES or not _VISIBLE.fullmatch(text):
        cause = f"{what} is not visible ASCII of at most {MAX_TOKEN_BYTES // 1024} KiB"
        raise FetchError(cause, "write only the token or secret there, in one line")
    return text


def read_regular_file(path: Path, limit: int) -> bytes:
    """Read at most ``limit`` + 1 bytes, so that the caller detects a larger file.

    Raises OSError, also for anything but a regular file: a pipe may never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "not a regular file")
        return file.read(limit + 1)

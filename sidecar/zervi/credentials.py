"""What the sidecar shows of itself when it asks: a bearer token, or a client and its secret."""

import asyncio
import os
import re
from binascii import b2a_base64
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote_plus

from sidecar.zervi.interface import FetchError
from sidecar.zervi.local_file import read_regular_file

MAX_CREDENTIAL_BYTES: Final = 8 * 1024  # a projected token of Kubernetes has 1 KiB

_VISIBLE = re.compile(r"[!-~]+")


class Held(NamedTuple):
    """Where a token or a secret is: in a file, or in an environment variable.

    It is read for each use: Kubernetes replaces tokens.
    """

    file: Path | None
    env: str | None

    async def read(self, what: str) -> str:
        """Return the text. Raises FetchError."""
        if self.file is None:
            content = os.environb.get((self.env or "").encode(), b"")
        else:
            try:
                content = await asyncio.to_thread(
                    read_regular_file, self.file, MAX_CREDENTIAL_BYTES
                )
            except OSError as error:
                cause = (error.strerror or type(error).__name__).lower()
                advice = "make the file readable for this process"
                raise FetchError(f"the {what}'s file cannot be read: {cause}", advice) from error
        text = content.decode("latin-1").strip()
        if len(content) > MAX_CREDENTIAL_BYTES or not _VISIBLE.fullmatch(text):
            cause = f"the {what} is not visible ASCII of at most {MAX_CREDENTIAL_BYTES // 1024} KiB"
            raise FetchError(cause, "write only it there, in one line")
        return text


class Bearer(NamedTuple):
    """A bearer token (RFC 6750)."""

    token: Held

    async def header(self) -> str:
        """Return the value of Authorization. Raises FetchError."""
        return f"Bearer {await self.token.read('token')}"


class Client(NamedTuple):
    """A client and its secret (RFC 6749, section 2.3.1)."""

    client_id: str
    secret: Held

    async def header(self) -> str:
        """Return the value of Authorization. Raises FetchError."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(await self.secret.read('secret'))}"
        return f"Basic {b2a_base64(pair.encode(), newline=False).decode()}"


Credential: TypeAlias = Bearer | Client

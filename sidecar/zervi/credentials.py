"""What the sidecar shows of itself when it asks: a bearer token, or a client and its secret."""

from binascii import b2a_base64
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import quote_plus

from sidecar.zervi.local_file import read_token


class Held(NamedTuple):
    """Where a token or a secret is: in a file, or in an environment variable.

    It is read for each use: Kubernetes replaces tokens.
    """

    file: Path | None
    env: str | None

    async def read(self, what: str) -> str:
        """Return the text. Raises FetchError."""
        return await read_token(f"the {what}", self.file, self.env)


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

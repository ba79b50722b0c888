"""Asks a registry for answers that are long: bounded in time and size, with the service token."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sidecar.looma.directory.listing import PollError
from sidecar.looma.token import LoginTokens, Tokens
from sidecar.net.http_client import HttpClient, HttpError, Response, read_body
from sidecar.net.trust import TlsFiles, TrustError

MAX_BODY_BYTES: Final = 32 * 1024 * 1024  # 20,000 instances with labels of usual size
_MAX_DIGITS: Final = 4300  # of an integer that Python reads
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class RegistryClient:
    """Sends the service token in ``header``, after ``prefix``; ``files`` are for https."""

    def __init__(
        self,
        files: TlsFiles,
        tokens: Tokens | None = None,
        header: str = "Authorization",
        prefix: str = "Bearer ",
    ) -> None:
        self._client = HttpClient(files)
        self._tokens = tokens
        self._header = header
        self._prefix = prefix

    @property
    def anonymous(self) -> bool:
        """Say whether no token is sent."""
        return self._tokens is None

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        seconds: float,
        headers: Mapping[str, str] = NO_HEADERS,
        body: Any = None,
    ) -> AsyncIterator[Response]:
        """Yield the answer's head; everything, also its body, ends within ``seconds``.

        ``body`` is sent as JSON unless it is None. A refused token is replaced for the next call.
        Raises PollError and NoTokenError.
        """
        token = "" if self._tokens is None else await self._tokens.token()
        if token:
            headers = {**headers, self._header: self._prefix + token}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers = {**headers, "Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.send(method, url, headers=headers, content=content) as response,
            ):
                if response.status in (401, 403) and self._tokens is not None:
                    await self._tokens.other_than(token)
                yield response
        except TimeoutError:
            raise PollError(f"no answer within {seconds:g} s") from None
        except (HttpError, TrustError) as error:
            raise PollError(str(error)) from None

    async def close(self) -> None:
        """Cancel a running login."""
        if isinstance(self._tokens, LoginTokens):
            await self._tokens.close()


class Page(NamedTuple):
    """An answer of Looma with its ETag; ``content`` is None where nothing has changed."""

    content: dict[str, Any] | None
    etag: str


class GoneError(PollError):
    """An answer with status 410."""


async def get_page(
    client: RegistryClient, url: str, etag: str, seconds: float, limit: int = MAX_BODY_BYTES
) -> Page:
    """Return what is new since the answer with an ETag. Raises PollError and NoTokenError."""
    headers = {"If-None-Match": etag} if etag else {}
    async with client.send("GET", url, seconds, headers) as response:
        if response.status == 304:
            return Page(None, etag)
        if response.status == 410:
            raise GoneError("HTTP status 410")
        content = await read_json(response, limit)
        if not isinstance(content, dict):
            raise PollError("the answer is not a JSON object")
        return Page(content, response.entity_tag() or "")


async def read_json(response: Response, limit: int = MAX_BODY_BYTES) -> Any:
    """Return the body of an answer with status 200, parsed in a thread. Raises PollError."""
    if response.status != 200:
        raise PollError(f"HTTP status {response.status}")
    body = await read_body(response, limit)
    if body is None:
        raise PollError(f"the answer is longer than {limit} bytes")
    return await asyncio.to_thread(parsed, body)


def parsed(body: bytes) -> Any:
    """Return JSON. Raises PollError."""
    try:
        return json.loads(body, parse_int=_integer)
    except (ValueError, RecursionError):
        raise PollError("the answer is not JSON") from None


def _integer(text: str) -> int | str:
    """Return an integer of JSON; a long one stays text.

    Python refuses it, and one entry must not cost the whole answer.
    """
    return int(text) if len(text) <= _MAX_DIGITS else text

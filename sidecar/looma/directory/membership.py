"""Looma's membership view: ``GET /cluster/services?view=membership`` and ``/cluster/allocations``.

An answer is the whole listing, or what changed after a cursor. ``docs/looma-registry.openapi.yaml``
is the contract.
"""

import asyncio
import json
import logging
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sidecar.looma.answers import bounded_seconds
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError, allocations_of, instances_of
from sidecar.looma.directory.members import Admission
from sidecar.looma.token import Tokens
from sidecar.net.http_client import HttpClient, HttpError, read_body
from sidecar.net.logs import once_a_minute
from sidecar.net.trust import TlsFiles, TrustError

ANSWER_SECONDS: Final = 10.0  # connecting, sending and the whole answer
INTERVAL: Final = 5.0  # seconds between polls, unless the registry's poll_seconds says otherwise
MIN_INTERVAL: Final = 1.0  # Envoy takes about as long to use a changed file
MAX_INTERVAL: Final = 60.0  # a longer one would send users to instances that are gone
MAX_BODY_BYTES: Final = 32 * 1024 * 1024  # 20,000 instances with labels of usual size
MAX_CURSOR: Final = 256  # characters

_log = logging.getLogger(__name__)


class _Page(NamedTuple):
    """An answer with its validator; ``content`` is None where nothing has changed."""

    content: dict[str, Any] | None
    etag: str


class Membership:
    """Reads instances and allocations; each call returns what is new.

    ``interval`` is the time between calls in seconds, as the last listing says.
    """

    def __init__(
        self, url: str, admission: Admission, files: TlsFiles, tokens: Tokens | None = None
    ) -> None:
        base = url.rstrip("/")
        self._services = f"{base}/cluster/services?view=membership"
        self._allocations = f"{base}/cluster/allocations"
        self._admission = admission
        self._client = HttpClient(files)
        self._tokens = tokens
        self.interval = INTERVAL
        self._cursor = ""
        self._etags: dict[str, str] = {}

    async def poll(self) -> Listing | None:
        """Return what changed since the last call, None where nothing did. Raises PollError."""
        url = self._services
        if self._cursor:
            url += f"&after={quote(self._cursor, safe='')}"
        services = await self._get(self._services, url)
        allocations = await self._get(self._allocations, self._allocations)
        if services.content is None and allocations.content is None:
            return None
        listing, cursor = await asyncio.to_thread(self._listing, services, allocations)
        self._cursor = cursor
        self._etags[self._services] = services.etag
        self._etags[self._allocations] = allocations.etag
        return listing

    def _listing(self, services: _Page, allocations: _Page) -> tuple[Listing, str]:
        content = services.content
        if content is None:
            listing, cursor = Listing((), complete=False), self._cursor
        else:
            listing, cursor = instances_of(content, self._admission), self._follow(content)
        if allocations.content is not None:
            found, refused = allocations_of(allocations.content)
            listing = listing._replace(allocations=found, refused=listing.refused + refused)
        return listing, cursor

    def _follow(self, content: dict[str, Any]) -> str:
        """Take over the interval in an answer; return its cursor, empty without a usable one."""
        wanted = content.get("poll_seconds")
        pace = bounded_seconds(wanted, "poll_seconds", MIN_INTERVAL, MAX_INTERVAL, _complain)
        self.interval = INTERVAL if pace is None else pace
        cursor = content.get("cursor")
        if not isinstance(cursor, str) or len(cursor) > MAX_CURSOR or not cursor.isprintable():
            return ""
        return cursor

    async def _get(self, name: str, url: str) -> _Page:
        headers = {"If-None-Match": self._etags[name]} if self._etags.get(name) else {}
        token = "" if self._tokens is None else await self._tokens.token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._client.send("GET", url, headers=headers) as response,
            ):
                if response.status == 304:
                    return _Page(None, self._etags.get(name, ""))
                if response.status == 410 and self._cursor:  # the cursor is too old
                    self._cursor = ""
                    self._etags.clear()
                    raise PollError(
                        "the registry has forgotten the cursor; the next poll asks for all"
                    )
                if response.status in (401, 403) and self._tokens is not None:
                    await self._tokens.other_than(token)  # for the next poll
                if response.status != 200:
                    raise PollError(f"HTTP status {response.status}")
                body = await read_body(response, MAX_BODY_BYTES)
                etag = response.entity_tag() or ""
        except TimeoutError:
            raise PollError(f"no answer within {ANSWER_SECONDS:g} s") from None
        except (HttpError, TrustError) as error:
            raise PollError(str(error)) from None
        if body is None:
            raise PollError(f"the answer is longer than {MAX_BODY_BYTES} bytes")
        try:
            content = await asyncio.to_thread(json.loads, body)
        except (ValueError, RecursionError):
            raise PollError("the answer is not JSON") from None
        if not isinstance(content, dict):
            raise PollError("the answer is not a JSON object")
        return _Page(content, etag)


def _complain(kind: str, text: str) -> None:
    _log.warning("the registry's listing: %s", text, extra=once_a_minute(f"listing {kind}"))

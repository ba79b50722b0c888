"""Looma's membership view: ``GET /cluster/services?view=membership`` and ``/cluster/allocations``.

An answer is the whole listing, or what changed after a cursor. ``docs/looma-registry.openapi.yaml``
is the contract.
"""

import asyncio
import logging
from typing import Any, Final
from urllib.parse import quote

from sidecar.looma.answers import bounded_seconds
from sidecar.looma.directory.client import (
    MAX_BODY_BYTES,
    GoneError,
    Page,
    RegistryClient,
    get_page,
)
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError, allocations_of, instances_of
from sidecar.looma.directory.members import Admission
from sidecar.net.logs import once_a_minute

ANSWER_SECONDS: Final = 10.0  # connecting, sending and the whole answer
INTERVAL: Final = 5.0  # seconds between polls, unless the registry's poll_seconds says otherwise
MIN_INTERVAL: Final = 1.0  # Envoy takes about as long to use a changed file
MAX_INTERVAL: Final = 60.0  # a longer one would send users to instances that are gone
MAX_CURSOR: Final = 256  # characters
ALLOCATIONS: Final = "/cluster/allocations"

_log = logging.getLogger(__name__)


class Membership:
    """Reads instances and allocations; each call returns what is new.

    ``interval`` is the time between calls in seconds, as the last listing says.
    """

    def __init__(self, url: str, admission: Admission, client: RegistryClient) -> None:
        base = url.rstrip("/")
        self._services = f"{base}/cluster/services?view=membership"
        self._allocations = f"{base}{ALLOCATIONS}"
        self._admission = admission
        self._client = client
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

    def _listing(self, services: Page, allocations: Page) -> tuple[Listing, str]:
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

    async def close(self) -> None:
        """Stop what still runs."""
        await self._client.close()

    async def _get(self, name: str, url: str) -> Page:
        etag = self._etags.get(name, "")
        try:
            return await get_page(self._client, url, etag, ANSWER_SECONDS, MAX_BODY_BYTES)
        except GoneError:
            if not self._cursor:
                raise
            self._cursor = ""  # too old
            self._etags.clear()
            raise PollError(
                "the registry has forgotten the cursor; the next poll asks for all"
            ) from None


def _complain(kind: str, text: str) -> None:
    _log.warning("the registry's listing: %s", text, extra=once_a_minute(f"listing {kind}"))

"""Looma's allocations where instances come from etcd or Consul."""

import asyncio

from sidecar.looma.directory.client import RegistryClient, get_page
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import allocations_of
from sidecar.looma.directory.membership import ALLOCATIONS, ANSWER_SECONDS, INTERVAL


class AllocationsOnly:
    """Reads ``/cluster/allocations``; each call returns a listing that changes no instance."""

    def __init__(self, url: str, client: RegistryClient) -> None:
        self._url = f"{url.rstrip('/')}{ALLOCATIONS}"
        self._client = client
        self._etag = ""

    @property
    def interval(self) -> float:
        """Return the seconds between calls."""
        return INTERVAL

    async def poll(self) -> Listing | None:
        """Return all allocations, None where none has changed. Raises PollError."""
        page = await get_page(self._client, self._url, self._etag, ANSWER_SECONDS)
        if page.content is None:
            return None
        found, refused = await asyncio.to_thread(allocations_of, page.content)
        self._etag = page.etag
        return Listing((), complete=False, allocations=found, refused=refused)

    async def close(self) -> None:
        """Stop what still runs."""
        await self._client.close()

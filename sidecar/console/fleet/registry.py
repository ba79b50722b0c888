"""Reads the registry: ``GET /cluster/services`` with every node's last report."""

import asyncio
from typing import Final

from sidecar.console import shown
from sidecar.console.fleet.fleet import Fleet, History
from sidecar.console.remote import Remote, RemoteError

MAX_LISTING_BYTES: Final = 64 * 1024 * 1024  # 20,000 nodes with labels of usual size
LISTING_SECONDS: Final = 10.0
MAX_ALLOCATIONS: Final = 200_000  # as many as a gateway reads


class Registry:
    """The registry of the configuration."""

    def __init__(self, remote: Remote, url: str) -> None:
        self._remote = remote
        self._base = url.rstrip("/")
        self._etag = ""
        self._fleet: Fleet | None = None
        self.history = History()

    async def fleet(self) -> Fleet:
        """Return all nodes. Raises RemoteError."""
        headers = {"If-None-Match": self._etag} if self._etag and self._fleet else {}
        reply = await self._remote.call(
            "GET",
            f"{self._base}/cluster/services",
            headers=headers,
            limit=MAX_LISTING_BYTES,
            seconds=LISTING_SECONDS,
        )
        if reply.status == 304 and self._fleet is not None:
            return self._fleet
        if reply.status != 200:
            raise RemoteError(f"the registry answered HTTP status {reply.status}", reply.status)
        entries = shown.mapping(reply.body).get("services")
        if not isinstance(entries, list):
            raise RemoteError("the registry's answer has no list of services")
        # In a thread: 10,000 nodes take some tenths of a second.
        self._fleet = await asyncio.to_thread(self.history.take, entries)
        self._etag = reply.etag
        return self._fleet

    async def allocations(self) -> dict[str, list[tuple[str, str]]]:
        """Return the services and nodes (id, or "") that each user has. Raises RemoteError."""
        reply = await self._remote.call(
            "GET", f"{self._base}/cluster/allocations", limit=MAX_LISTING_BYTES
        )
        if reply.status == 404:  # a registry without allocations
            return {}
        if reply.status != 200:
            raise RemoteError(f"the registry answered HTTP status {reply.status}", reply.status)
        return await asyncio.to_thread(_allocations, reply.body)


def _allocations(body: object) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for entry in shown.listed(shown.mapping(body).get("allocations"))[:MAX_ALLOCATIONS]:
        given = shown.mapping(entry)
        user = shown.name(given.get("user_id"))
        if user:
            service = shown.text(given.get("service_name"), 128)
            found.setdefault(user, []).append((service, shown.name(given.get("service_id"))))
    return found

"""A registry with many instances, for the gateway to choose among."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from demo.looma import LoomaNode, start_looma

INSTANCES = 10_000
SERVICE = "basic-server"  # the target of the requested route
POLL = 60.0  # seconds: the registry runs in the process of the bench, beside the load


@asynccontextmanager
async def registry() -> AsyncIterator[str]:
    """Run a registry; yield its address."""
    looma = await start_looma(0, poll=POLL, ttl=86400.0)
    try:
        for number in range(INSTANCES):
            name = f"{SERVICE}-{number}"
            entry = {
                "service_id": name,
                "service_name": SERVICE,
                "address": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
                "port": 10000,
                "labels": {"zone": "abc"[number % 3], "capacity": "1"},
            }
            now = datetime.now(UTC)
            looma.nodes[name] = LoomaNode(name, entry, "active", "healthy", now, float("inf"))
        yield looma.url.removeprefix("http://")
    finally:
        await looma.stop()

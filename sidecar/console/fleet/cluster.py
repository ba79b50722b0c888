"""The whole cluster as the overview shows it: registry, Zervi's services, alerts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, NamedTuple

from sidecar.console.answers import text_of
from sidecar.console.fleet.alerts import Alert
from sidecar.console.fleet.fleet import Fleet
from sidecar.console.fleet.overview import Counted, counted
from sidecar.console.fleet.registry import Registry
from sidecar.console.people.zervi import Activity, Zervi
from sidecar.console.prometheus import Prometheus
from sidecar.console.remote import RemoteError
from sidecar.console.shared import Known, Shared

SLOW_EVERY: Final = 15.0
"""Seconds between queries of what changes slowly: statistics, activity, services."""

LISTINGS_MISSED: Final = 3  # polls without an answer, after which what is shown counts as old


class View(NamedTuple):
    """One listing, and what it adds up to."""

    fleet: Fleet
    counted: Counted


class Cluster:
    """Everything that is asked once for all viewers. ``clock`` is seconds since the epoch.

    ``tables`` returns the digests of known tables, None where none is configured.
    """

    def __init__(
        self,
        registry: Registry,
        zervi: Zervi,
        prometheus: Prometheus | None,
        *,
        poll: float,
        silent: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = registry
        self.clock = clock
        self._silent = silent
        self.tables: Callable[[], Awaitable[Collection[str] | None]] = _no_tables
        self.nodes = Shared("the registry", self._listing, poll)
        self.allocations = Shared("the registry's allocations", registry.allocations, poll)
        self.services = Shared("Zervi's services", zervi.services, SLOW_EVERY)
        self.statistics = Shared("Zervi's statistics", zervi.statistics, SLOW_EVERY)
        self.activity = Shared("Zervi's activity", zervi.activity, SLOW_EVERY)
        self.firing = (
            None
            if prometheus is None
            else Shared("Prometheus' alerts", prometheus.alerts, SLOW_EVERY)
        )
        self._made: tuple[object, dict[str, Any]] = (None, {})
        self._text: tuple[object, str] = (None, "")

    @property
    def generation(self) -> int:
        """A number that grows with each new listing."""
        return self.nodes.known.generation

    async def fleet(self) -> Fleet:
        """Return the nodes that are known. Raises RemoteError before the first listing."""
        known = await self.nodes.get()
        if known.value is None:
            raise RemoteError(known.error or "the registry has not answered yet")
        return known.value.fleet

    async def overview(self) -> dict[str, Any]:
        """Return ``GET /api/overview``; the same object until something in it changes."""
        nodes, services, statistics, activity = await asyncio.gather(
            self.nodes.get(), self.services.get(), self.statistics.get(), self.activity.get()
        )
        firing = None if self.firing is None else await self.firing.get()
        everything = (nodes, services, statistics, activity, firing)
        key = tuple((k.generation, k.error) for k in everything if k is not None)
        old = self._is_old(nodes)
        if self._made[0] != (key, old):
            self._made = ((key, old), self._overview(*everything))
        return self._made[1]

    async def overview_text(self) -> str:
        """Return the overview in JSON; it is written once for all viewers."""
        overview = await self.overview()
        if self._text[0] is not overview:
            self._text = (overview, text_of(overview))
        return self._text[1]

    async def services_overview(self) -> dict[str, Any]:
        """Return ``GET /api/services``, with the names of the customer's paper."""
        nodes, zervi = await self.nodes.get(), await self.services.get()
        basic_servers = [] if nodes.value is None else nodes.value.counted.services
        zervi_services = zervi.value or []
        return {
            "basic_servers": basic_servers,
            "zervi_services": zervi_services,
            "total_services": len(basic_servers) + len(zervi_services),
        }

    async def close(self) -> None:
        """Cancel what runs."""
        for each in (self.nodes, self.allocations, self.services, self.statistics, self.activity):
            await each.close()
        if self.firing is not None:
            await self.firing.close()

    async def _listing(self) -> View:
        fleet = await self.registry.fleet()
        tables = await self.tables()
        made = await asyncio.to_thread(counted, fleet, self.clock(), self._silent, tables)
        return View(fleet, made)

    def _is_old(self, nodes: Known[View]) -> bool:
        return bool(nodes.error) and (nodes.age(self.clock()) or 0) > (
            LISTINGS_MISSED * self.nodes.every
        )

    def _overview(
        self,
        nodes: Known[View],
        services: Known[list[dict[str, Any]]],
        statistics: Known[dict[str, Any]],
        activity: Known[Activity],
        firing: Known[list[dict[str, Any]]] | None,
    ) -> dict[str, Any]:
        made = _NOTHING if nodes.value is None else nodes.value.counted
        state = "ok" if not nodes.error else "down" if nodes.value is None else "stale"
        alerts = list(made.alerts)
        if nodes.error:
            alerts.insert(0, Alert("registry_down", "critical", 1))
        down = [each["name"] for each in services.value or [] if each["status"] != "healthy"]
        if down:
            alerts.append(Alert("zervi_services_down", "critical", len(down), tuple(down[:5])))
        return {
            "cluster_overview": {
                "as_of": nodes.taken_at,
                "registry": {"state": state, "error": nodes.error},
                **made.cluster,
                "alerts": [alert.as_json() for alert in alerts],
                "prometheus_alerts": None if firing is None else firing.value,
            },
            "auth_statistics": {
                **made.checks,
                "zervi": statistics.value,
                "zervi_error": statistics.error,
            },
            "user_activity": {
                "events": activity.value,
                "error": activity.error,
            },
            "service_health": {
                "basic_servers": made.services,
                "zervi_services": services.value or [],
            },
            "performance_metrics": made.performance,
        }


async def _no_tables() -> None:
    return None


_NOTHING: Final = counted(Fleet({}, {}), 0.0, 1.0)

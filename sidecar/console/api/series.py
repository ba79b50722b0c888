"""``/api/series``: the charts of the overview, from Prometheus."""

from functools import partial
from typing import Any, Final

from aiohttp import web

from sidecar.console.answers import answer, fail
from sidecar.console.caller import Caller
from sidecar.console.prometheus import RANGES, Prometheus
from sidecar.console.remote import RemoteError
from sidecar.console.shared import Shared

EVERY: Final = 15.0  # seconds: as often as Prometheus usually scrapes


class SeriesApi:
    """The handler; each range is one query for all viewers."""

    def __init__(self, prometheus: Prometheus | None) -> None:
        self._ranges: dict[str, Shared[list[dict[str, Any]]]] = {}
        if prometheus is not None:
            self._ranges = {
                name: Shared(f"Prometheus ({name})", partial(prometheus.series, name), EVERY)
                for name in RANGES
            }

    async def series(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return the charts of a range; none without ``prometheus.url``."""
        wanted = request.query.get("range", "1h")
        if wanted not in RANGES:
            fail(400, "BAD_REQUEST", f"range is one of {', '.join(RANGES)}")
        if not self._ranges:
            return answer({"range": wanted, "charts": [], "error": "prometheus.url is not set"})
        known = await self._ranges[wanted].get()
        if known.value is None:
            raise RemoteError(known.error or "Prometheus has not answered yet")
        return answer({"range": wanted, "charts": known.value, "error": known.error})

    async def close(self) -> None:
        """Cancel what runs."""
        for each in self._ranges.values():
            await each.close()

"""The node's page, where ``listen.page`` is set: wires the rooms' state to it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from sidecar import __version__
from sidecar.app import wiring
from sidecar.app.promotion import Candidate
from sidecar.config import Config
from sidecar.extauthz.service import CheckService
from sidecar.net.clock import steady
from sidecar.ops.metrics import Metrics
from sidecar.ops.page.explaining import Explaining
from sidecar.ops.page.facts import About, Facts, Shadowed, View
from sidecar.ops.page.history import INTERVAL, History
from sidecar.ops.page.recent import Recent
from sidecar.ops.page.sections import MAX_DECISIONS
from sidecar.ops.page.site import HEADERS, Site
from sidecar.ops.readiness import Health
from sidecar.ops.server import HttpServer
from sidecar.transport.interface import ListenError
from sidecar.transport.sockets import Listening


class NodePage:
    """What the page shows, and the server that shows it."""

    def __init__(
        self,
        path: Path,
        config: Callable[[], Config],
        service: CheckService,
        health: Health,
        metrics: Metrics,
        candidate: Candidate,
    ) -> None:
        self._config = config
        self._service = service
        self._health = health
        self._metrics = metrics
        self._candidate = candidate
        self._about = _about(config(), time.time())
        self._history = History(metrics)
        self._explaining = Explaining(path)
        self.recent = Recent(lambda: wiring.decision_log(config()))

    def server(self, listening: Listening) -> HttpServer:
        """Return the server. Raises ListenError unless only this machine reaches it."""
        for sock in listening.sockets:
            if not _is_loopback(sock):
                raise ListenError("listen.page: the host is not a loopback address")
        site = Site(self._about, self._collect, self.recent.find, self._explaining)
        return HttpServer(listening.sockets, site.answer, HEADERS)

    async def watch(self) -> None:
        """Take samples of the counters until the task is cancelled."""
        while True:
            self._history.sample(time.time())
            await asyncio.sleep(INTERVAL)

    def _collect(self, view: View) -> Facts:
        shadow = self._candidate.shadow
        return Facts(
            about=self._about,
            now=time.time(),
            steady=steady(),
            overall=self._health.overall,
            components=dict(self._health.components),
            values=self._metrics.values(),
            snapshot=self._service.snapshot,
            shadow=None
            if shadow is None
            else Shadowed(
                self._candidate.digest,
                shadow.compared,
                shadow.different,
                self._candidate.promoted,
            ),
            intervals=self._history.intervals(),
            entries=self.recent.latest(view.decisions, MAX_DECISIONS),
            skipped=self.recent.skipped,
        )


def _about(config: Config, started: float) -> About:
    settings = config.settings
    node = socket.gethostname()
    if settings.looma is not None:
        node = wiring.reporter(settings.looma, __version__).service.id
    listen = settings.listen
    addresses = {"authz": listen.authz, "health": listen.health, "ops": listen.ops}
    return About(
        __version__,
        "sidecar" if settings.gateway is None else "gateway",
        node,
        started,
        tuple((key, address) for key, address in addresses.items() if address is not None),
    )


def _is_loopback(sock: socket.socket) -> bool:
    with contextlib.suppress(ValueError):
        return ip_address(sock.getsockname()[0]).is_loopback
    return False

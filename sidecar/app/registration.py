"""This node at the registry: wires the rooms' state to its reports."""

import asyncio
from collections.abc import Callable

from sidecar import __version__
from sidecar.app import wiring
from sidecar.config import Config
from sidecar.config.model import Looma
from sidecar.core.snapshot import Snapshot
from sidecar.looma.report import UNKNOWN, NodeMetrics, NodeState
from sidecar.looma.reporter import Events
from sidecar.looma.reporting import Reporting
from sidecar.net.clock import steady
from sidecar.ops.metrics import Metrics
from sidecar.ops.readiness import Health, State


class Registration:
    """This node at the configured registry, if there is one; it follows the configuration."""

    def __init__(self, snapshot: Callable[[], Snapshot], health: Health, metrics: Metrics) -> None:
        self._snapshot = snapshot
        self._health = health
        self._metrics = metrics
        self._node: Node | None = None
        self._source: tuple[Looma | None, str | None] = (None, None)
        self._upstream = UNKNOWN
        self._left = False

    @property
    def configured(self) -> bool:
        """Whether there is a registry."""
        return self._source[0] is not None

    async def follow(self, config: Config) -> None:
        """Register as this configuration says; call it after the health has the component.

        A node that has another id or registry than before leaves first, for at most two seconds, so
        that it is not listed twice. With the same ones it registers again, over its former entry.
        """
        looma = config.settings.looma
        if (looma, config.registry_secret) == self._source:
            return
        former, self._node = self._node, None
        before, self._source = self._source[0], (looma, config.registry_secret)
        if former is not None and not self._left:
            if _entry(looma) != _entry(before):
                await former.leave()
            await former.close()
        if looma is None:
            self._metrics.looma_registered(None)
            return
        # `leave` may have come in the meantime.
        if not self._left:
            self._node = Node(looma, config, self._snapshot, self._health, self._metrics)
            self._node.upstream(self._upstream)
            self._node.start()

    def upstream(self, state: str) -> None:
        """Report the upstream's state as soon as it changes."""
        self._upstream = state
        if self._node is not None:
            self._node.upstream(state)

    async def leave(self) -> bool:
        """Deregister for good within two seconds; return whether that succeeded."""
        self._left = True
        return self._node is None or await self._node.leave()

    async def close(self) -> None:
        """Stop immediately."""
        if self._node is not None:
            await self._node.close()


def _entry(looma: Looma | None) -> object:
    """Return what identifies a node's entry: its registry and its id."""
    if looma is None:
        return None
    return looma.kind, looma.url, looma.paths, wiring.reporter(looma, "").service.id


class Node:
    """Reports to the registry; no Check waits for it."""

    def __init__(
        self,
        looma: Looma,
        config: Config,
        snapshot: Callable[[], Snapshot],
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._snapshot = snapshot
        self._health = health
        self._metrics = metrics
        self._reporting = Reporting(
            wiring.registry(looma, config.registry_secret),
            wiring.reporter(looma, __version__),
            self._state,
            Events(metrics.looma_request, self._on_registered),
        )
        self._joining: asyncio.Task[None] | None = None
        self._on_registered(registered=False)

    def start(self) -> None:
        """Register when the sidecar is ready."""
        self._joining = asyncio.create_task(self._join(), name="looma-join")

    async def _join(self) -> None:
        while not self._health.ready:
            await self._health.changed()
        self._reporting.report()

    def upstream(self, state: str) -> None:
        """Report the upstream's state as soon as it changes."""
        self._reporting.upstream(state)

    async def leave(self) -> bool:
        """Deregister within two seconds; return whether that succeeded. May be called again."""
        self._stop_joining()
        return await self._reporting.leave()

    async def close(self) -> None:
        """Stop immediately."""
        self._stop_joining()
        await self._reporting.close()

    def _stop_joining(self) -> None:
        if self._joining is not None:
            self._joining.cancel()

    def _state(self) -> NodeState:
        snapshot = self._snapshot()
        fetched = [issuer.keys.fetched_at for issuer in snapshot.issuers if issuer.keys]
        overall = self._health.overall
        return NodeState(
            policy_digest=snapshot.policy.digest,
            policy_generation=self._metrics.policy_generation,
            key_set_age=steady() - min(fetched) if fetched else None,
            ready=self._health.ready,
            not_ready_reason="" if self._health.ready else overall.detail,
            metrics=NodeMetrics(*self._metrics.summary()),
        )

    def _on_registered(self, registered: bool) -> None:
        self._metrics.looma_registered(registered)
        self._health.set("looma", State.READY if registered else State.WAITING)

"""Keeps one node registered: register, send heartbeats, deregister."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from sidecar.looma.answers import CALL_SECONDS
from sidecar.looma.identity import Service
from sidecar.looma.pace import Pace
from sidecar.looma.registry import (
    RESULTS,
    Failed,
    Ok,
    Operation,
    Outcome,
    Registry,
    RetryAfter,
    Unauthorized,
    Unregistered,
)
from sidecar.looma.report import UNKNOWN, NodeState, Report
from sidecar.net.logs import once_a_minute

LEAVE_SECONDS = CALL_SECONDS  # an ending pod has no more time

_log = logging.getLogger(__name__)


class ReporterSettings(NamedTuple):
    """``heartbeat`` is the interval in seconds, unless the registry asks for another."""

    service: Service
    sidecar_version: str
    heartbeat: float = 30.0
    metrics: bool = False


class Events(NamedTuple):
    """Callbacks: each call's operation and result, and whether the node is registered."""

    on_request: Callable[[str, str], None]
    on_registered: Callable[[bool], None]


class Reporter:
    """Keeps one node registered and reports its state.

    Only ``leave`` waits for it. There is one call at a time, also to a registry that fails.
    """

    def __init__(
        self,
        settings: ReporterSettings,
        registry: Registry,
        node_state: Callable[[], NodeState],
        events: Events,
        *,
        random: Random,
        clock: Callable[[], float],
    ) -> None:
        """``clock`` returns seconds since the epoch; it is used only for timestamps."""
        self._settings = settings
        self._registry = registry
        self._node_state = node_state
        self._events = events
        self._random = random
        self._clock = clock
        self._upstream = self._reported = UNKNOWN
        self._changed = asyncio.Event()
        self._registered = False
        self._failing_since: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[bool] | None = None
        self._left = False

    def start(self) -> None:
        """Register and send heartbeats from now on; call it once, when the sidecar is ready."""
        if self._leaving is None:
            self._task = asyncio.create_task(self._run(), name="looma-report")

    def upstream(self, state: str) -> None:
        """Set the upstream's state; a change is reported immediately."""
        self._upstream = state
        self._changed.set()

    async def leave(self) -> bool:
        """Stop heartbeats and deregister within ``LEAVE_SECONDS``; return whether it succeeded.

        Concurrent calls share one attempt. A later call repeats a failed attempt only.
        """
        if self._leaving is None or (self._leaving.done() and not self._left):
            self._leaving = asyncio.create_task(self._leave(), name="looma-leave")
        return await asyncio.shield(self._leaving)

    async def close(self) -> None:
        """Stop immediately, without deregistering."""
        for task in (self._task, self._leaving):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        pace = Pace(self._settings.heartbeat, self._random, now())
        while True:
            await self._wait_until_due(pace)
            pace.sent(now())
            operation = pace.operation
            outcome = await self._ask(operation)
            pace.done(outcome, now())
            self._note(operation, outcome, pace.due - now())
            self._set_registered(pace.registered)
            if self._settings.metrics and pace.registered and isinstance(outcome, Ok):
                await self._ask(Operation.METRICS)

    async def _wait_until_due(self, pace: Pace) -> None:
        now = asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            if self._upstream != self._reported:
                pace.change(now())
            wait = pace.due - now()
            if wait <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def _ask(self, operation: Operation) -> Outcome:
        outcome: Outcome
        try:
            outcome = await self._call(operation)
        except Exception as error:  # noqa: BLE001 -- a fault may cost a report, never the reporter
            outcome = Failed(f"internal error: {type(error).__name__}: {error}")
        self._events.on_request(operation.value, RESULTS[type(outcome)])
        return outcome

    async def _call(self, operation: Operation) -> Outcome:
        if operation is Operation.DEREGISTER:
            return await self._registry.deregister()
        settings = self._settings
        report = Report(
            settings.service,
            settings.sidecar_version,
            self._node_state(),
            self._upstream,
            self._clock(),
        )
        if operation is Operation.METRICS:
            return await self._registry.metrics(report)
        self._reported = report.upstream
        if operation is Operation.REGISTER:
            return await self._registry.register(report)
        return await self._registry.heartbeat(report)

    async def _leave(self) -> bool:
        if self._task is None:
            self._left = True  # never registered
            return True
        self._task.cancel()
        await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                outcome = await self._ask(Operation.DEREGISTER)
        except TimeoutError:
            outcome = Failed(f"not done within {LEAVE_SECONDS:g} s")
            self._events.on_request(Operation.DEREGISTER.value, RESULTS[Failed])
        self._left = isinstance(outcome, Ok)
        if self._left:
            _log.info("deregistered %s", self._settings.service.id)
        else:
            _log.warning("could not deregister: %s", _because(outcome))
        self._set_registered(registered=False)
        return self._left

    def _note(self, operation: Operation, outcome: Outcome, wait: float) -> None:
        """Log failures, recoveries and registrations, each at most once a minute."""
        now = asyncio.get_running_loop().time()
        if isinstance(outcome, Ok):
            if self._failing_since is not None:
                text = "the registry accepts reports again, after %.0f s"
                _log.info(text, now - self._failing_since, extra=once_a_minute("recovered"))
                self._failing_since = None
            if operation is Operation.REGISTER:
                extra = once_a_minute("registered")
                _log.info("registered as %s", self._settings.service.id, extra=extra)
        elif isinstance(outcome, Unregistered):
            text = "the registry does not know this node: it registers again"
            _log.warning(text, extra=once_a_minute("unknown"))
        else:
            if self._failing_since is None:
                self._failing_since = now
            text = "%s at the registry failed: %s; next attempt in %.1f s"
            extra = once_a_minute(f"failed {operation}")
            _log.warning(text, operation, _because(outcome), wait, extra=extra)

    def _set_registered(self, registered: bool) -> None:
        if registered is not self._registered:
            self._registered = registered
            self._events.on_registered(registered)


def _because(outcome: Outcome) -> str:
    match outcome:
        case Unauthorized(detail):
            return f"refused, {detail}"
        case RetryAfter(_, detail):
            return f"busy, {detail}"
        case Failed(detail):
            return detail
        case _:
            return "unknown instance"

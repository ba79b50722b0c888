"""Probes the upstream over HTTP, TCP or gRPC health, one probe at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from sidecar.upstream.grpc_probe import probe_grpc
from sidecar.upstream.state import UpstreamHealth, UpstreamState, after_probe

JITTER = 0.1  # keeps thousands of probers on one machine from probing at the same instant

_log = logging.getLogger(__name__)


# Probes the upstream once; returns the problem, None for a healthy upstream.
Probe = Callable[[], Awaitable[str | None]]


class ProbeSettings(NamedTuple):
    """What to probe, and how often; times are in seconds. ``name`` is what the log calls it.

    ``url`` is ``http(s)://…`` (healthy: status 2xx; the body is not read), ``tcp://host:port``
    (healthy: a connection) or ``grpc://host:port[/service]`` (healthy: ``grpc.health.v1`` SERVING).
    """

    url: str
    interval: float = 10.0
    timeout: float = 3.0
    name: str = "the upstream"


class Prober:
    """Probes the upstream from ``start`` to ``close`` and reports each change of its state."""

    def __init__(
        self,
        settings: ProbeSettings,
        on_change: Callable[[UpstreamState], None],
        random: Random,
    ) -> None:
        """Raise ValueError for a URL of another kind."""
        self._settings = settings
        self._probe = _probe_for(urlsplit(settings.url))
        self._on_change = on_change
        self._random = random
        self._health = UpstreamHealth()
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> UpstreamState:
        """The upstream's state after the last probe."""
        return self._health.state

    def start(self) -> None:
        """Start probing, the first time immediately."""
        self._task = asyncio.create_task(self._run(), name="upstream-probe")

    def change(self, settings: ProbeSettings) -> None:
        """Probe by other settings from now on; the state stays until the first of these ends.

        Raises ValueError for a URL of another kind.
        """
        self._probe = _probe_for(urlsplit(settings.url))
        self._settings = settings
        if self._task is not None:
            self._task.cancel()
            self.start()

    async def close(self) -> None:
        """Stop, and cancel a running probe."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            problem = await self._problem()
            before, self._health = self._health, after_probe(self._health, problem is None)
            if self._health.state is not before.state:
                self._changed(before.state, problem)
            jitter = self._random.uniform(1 - JITTER, 1 + JITTER)
            await asyncio.sleep(self._settings.interval * jitter)

    async def _problem(self) -> str | None:
        """Probe once; return the problem, None for a healthy upstream."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._probe()
        except TimeoutError:
            return f"no answer within {self._settings.timeout:g} s"
        except (OSError, ValueError, EOFError) as error:
            return getattr(error, "strerror", None) or str(error) or type(error).__name__

    def _changed(self, before: UpstreamState, problem: str | None) -> None:
        state, name = self._health.state, self._settings.name
        if problem is None:
            _log.info("%s is %s (was %s)", name, state, before)
        else:
            _log.warning("%s is %s (was %s): %s", name, state, before, problem)
        self._on_change(state)


def _probe_for(url: SplitResult) -> Probe:
    if url.scheme in ("http", "https") and url.hostname:
        from sidecar.net.http_client import HttpClient  # h11 and more
        from sidecar.upstream.http_probe import probe_http

        client = HttpClient()
        return lambda: probe_http(client, url.geturl())
    host, port = url.hostname, url.port
    if url.scheme in ("tcp", "grpc") and host and port:
        if url.scheme == "tcp":
            return lambda: _probe_tcp(host, port)
        service = url.path.strip("/")
        return lambda: _probe_grpc(host, port, service)
    raise ValueError(
        "the URL of a probe must be http(s)://…, tcp://host:port or grpc://host:port[/service]"
    )


async def _probe_tcp(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
    transport.abort()


async def _probe_grpc(host: str, port: int, service: str) -> str | None:
    status = await probe_grpc(host, port, service)
    return None if status == "SERVING" else f"gRPC health status {status}"

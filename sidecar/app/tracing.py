"""Traces, where ``tracing`` is configured; nothing of them is imported elsewhere."""

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from sidecar import __version__
from sidecar.app import wiring
from sidecar.config import Config
from sidecar.extauthz.service import CheckService
from sidecar.ops.metrics import Metrics

if TYPE_CHECKING:
    from sidecar.ops.traces import Tracer


class MissingExtraError(Exception):
    """A package is not installed that only this configuration needs."""


def service_class(config: Config) -> type[CheckService]:
    """Return the Check service: one that keeps the callers' traces where they are configured."""
    if config.settings.tracing is None:
        return CheckService
    from sidecar.extauthz.traced import TracedCheckService

    return TracedCheckService


def tracer(config: Config, metrics: Metrics) -> "Tracer | None":
    """Return what sends the spans, None without ``tracing``. Raises MissingExtraError."""
    settings = config.settings
    if settings.tracing is None:
        return None
    try:
        from sidecar.ops.traces import Tracer
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise MissingExtraError(
            "`tracing` needs the package opentelemetry-proto: pip install 'zervi-sidecar[tracing]'"
        ) from None
    node = socket.gethostname()
    if settings.looma is not None:
        node = wiring.reporter(settings.looma, __version__).service.id
    resource = {
        "service.name": "zervi-sidecar",
        "service.version": __version__,
        "service.instance.id": node,
    }
    return Tracer(settings.tracing.otlp, resource, metrics.trace_spans)


def start(stack: AsyncExitStack, tracer: "Tracer") -> None:
    """Send spans until ``stack`` closes; then those that are left."""
    stack.push_async_callback(tracer.close)
    stack.callback(asyncio.create_task(tracer.run(), name="traces").cancel)

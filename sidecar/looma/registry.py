"""A registry as the reporter sees it: four operations, and their outcomes as values."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from sidecar.looma.report import Report


class Operation(StrEnum):
    """An operation of a registry; the values of the metric's label."""

    REGISTER = "register"
    HEARTBEAT = "heartbeat"
    DEREGISTER = "deregister"
    METRICS = "metrics"


class Ok(NamedTuple):
    """Success. ``ttl`` and ``interval`` are seconds that the registry asks for, within bounds."""

    ttl: float | None = None
    interval: float | None = None


class Unregistered(NamedTuple):
    """The registry does not know this node."""


class Unauthorized(NamedTuple):
    """The registry refuses this node's credentials, or this node has none."""

    detail: str


class RetryAfter(NamedTuple):
    """The registry is busy; do not call it for ``seconds``."""

    seconds: float
    detail: str


class Failed(NamedTuple):
    """Any other failure; ``detail`` is for the operator."""

    detail: str


Outcome = Ok | Unregistered | Unauthorized | RetryAfter | Failed

# The values of the metric's label.
RESULTS: dict[type[Outcome], str] = {
    Ok: "ok",
    Unregistered: "unregistered",
    Unauthorized: "unauthorized",
    RetryAfter: "retry_after",
    Failed: "failed",
}


class Registry(Protocol):
    """A registry of one kind, for one node. No method raises, and each ends within seconds."""

    async def register(self, report: Report) -> Outcome:
        """Register the node; may be repeated with the same service id."""

    async def heartbeat(self, report: Report) -> Outcome:
        """Report that the node is alive, and its state."""

    async def deregister(self) -> Outcome:
        """Deregister the node; an unknown node is a success."""

    async def metrics(self, report: Report) -> Outcome:
        """Report the node's metrics, if this kind of registry has a separate operation for them."""

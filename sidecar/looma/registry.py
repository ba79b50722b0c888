"""What the reporter knows of a registry: four operations, and their outcomes as values."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from sidecar.looma.report import Report


class Operation(StrEnum):
    """What is asked of a registry; the words of the metric's label."""

    REGISTER = "register"
    HEARTBEAT = "heartbeat"
    DEREGISTER = "deregister"
    METRICS = "metrics"


class Ok(NamedTuple):
    """Done. ``ttl`` and ``interval`` are seconds that the registry asked for, within our bounds."""

    ttl: float | None = None
    interval: float | None = None


class Unregistered(NamedTuple):
    """The registry does not know this node (any more)."""


class Unauthorized(NamedTuple):
    """The registry refuses this node's credentials, or there are none to send."""

    detail: str


class RetryAfter(NamedTuple):
    """The registry is busy, and wants to be left alone for so many seconds."""

    seconds: float
    detail: str


class Failed(NamedTuple):
    """Anything else; ``detail`` is for the operator."""

    detail: str


Outcome = Ok | Unregistered | Unauthorized | RetryAfter | Failed

# The words of the metric's label.
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
        """Make the node known; repeatable, with the same service id."""

    async def heartbeat(self, report: Report) -> Outcome:
        """Say that the node lives, and how it is."""

    async def deregister(self) -> Outcome:
        """Make the node unknown; a node that is unknown already is no failure."""

    async def metrics(self, report: Report) -> Outcome:
        """Hand over the node's metrics, where the kind has a place of its own for them."""

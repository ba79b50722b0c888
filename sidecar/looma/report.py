"""What a node reports to a registry: no secrets, no user data."""

import math
from typing import Any, NamedTuple

from sidecar.looma.identity import Service
from sidecar.net.clock import rfc3339

# What the sidecar adds to its Basic Server; Looma's column of that name.
CAPABILITIES = ("zervi-authorization", "upstream-health")

UNKNOWN = "unknown"  # the upstream's state before its first probe, and without probes


class NodeMetrics(NamedTuple):
    """Counts since the start; ``p99_seconds`` is None before the first Check."""

    checks: int = 0
    denials: int = 0
    p99_seconds: float | None = None


class NodeState(NamedTuple):
    """The sidecar's state at one moment.

    ``key_set_age`` is the age of the oldest key set in seconds, None where no issuer has one.
    ``not_ready_reason`` is for people, and empty when ``ready``.
    """

    policy_digest: str
    policy_generation: int
    key_set_age: float | None
    ready: bool
    not_ready_reason: str = ""
    metrics: NodeMetrics = NodeMetrics()


class Report(NamedTuple):
    """One report, for every kind of registry; ``time`` is in seconds since the epoch.

    ``upstream`` is unknown, healthy, warning or critical.
    """

    service: Service
    sidecar_version: str
    state: NodeState
    upstream: str
    time: float


def registration(report: Report) -> dict[str, Any]:
    """Return the body of a registration, with the names of Looma's table."""
    service = report.service
    body: dict[str, Any] = {
        "service_id": service.id,
        "instance_id": service.id,
        "service_name": service.name,
        "service_type": service.type,
        "node_id": service.node,
        "cluster_id": service.cluster,
        "address": service.address,
        "port": service.port,
        "service_url": f"http://{_url_host(service.address)}:{service.port}",
        "capabilities": list(CAPABILITIES),
        "status": "registered",
        "health_status": report.upstream,
        "metadata": {
            "version": service.version,
            "environment": service.environment,
            "sidecar_version": report.sidecar_version,
        },
    }
    if service.labels:  # a registry that knows none of them need not accept the key
        body["labels"] = dict(service.labels)
    return body


def heartbeat(report: Report) -> dict[str, Any]:
    """Return the body of a heartbeat."""
    return {
        "timestamp": rfc3339(report.time, "milliseconds"),
        **standing(report),
        "key_set_age_seconds": _rounded(report.state.key_set_age, 1),
        "metrics": _numbers(report),
    }


def standing(report: Report) -> dict[str, Any]:
    """Return the part of a heartbeat that changes only with the node's state."""
    state = report.state
    return {
        "status": "active" if state.ready else "inactive",
        "health_status": report.upstream,
        "ready": state.ready,
        "not_ready_reason": state.not_ready_reason,
        "policy_digest": state.policy_digest,
        "policy_generation": state.policy_generation,
        "sidecar_version": report.sidecar_version,
    }


def metrics(report: Report) -> dict[str, Any]:
    """Return the body of a metrics report."""
    return {
        "timestamp": rfc3339(report.time, "milliseconds"),
        "upstream_state": report.upstream,
        **_numbers(report),
    }


def _numbers(report: Report) -> dict[str, Any]:
    numbers = report.state.metrics
    return {
        "checks_total": numbers.checks,
        "denials_total": numbers.denials,
        "check_p99_seconds": _rounded(numbers.p99_seconds, 6),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address

"""One node of the registry's listing. Every value of it may be hostile."""

from typing import Any, Final, NamedTuple

from sidecar.console import shown

HEALTH: Final = ("healthy", "warning", "critical", "unknown")
AHEAD: Final = 60.0  # seconds by which a node's clock may differ before it is reported


class Report(NamedTuple):
    """What changes with each heartbeat. Times are seconds since the epoch, durations seconds."""

    at: float | None
    health: str
    ready: bool | None
    not_ready_reason: str
    digest: str
    generation: int | None
    version: str
    key_set_age: float | None
    checks: int | None
    denials: int | None
    p99: float | None


class Node(NamedTuple):
    """One sidecar with its Basic Server; ``id`` is valid in a URL and different for each.

    ``heard_at`` is when the registry received the last heartbeat, by its own clock. ``ahead`` is by
    how many seconds the node's clock is ahead of the registry's, 0 if it is not.
    """

    id: str
    service_id: str
    service: str
    type: str
    machine: str
    cluster: str
    address: str
    release: str
    environment: str
    labels: dict[str, str]
    status: str
    heard_at: float | None
    ahead: float
    report: Report
    words: str  # what a search looks at, in lower case


class NotANodeError(Exception):
    """An entry that is not usable."""


def node(entry: object) -> Node:
    """Return the node of an entry of ``GET /cluster/services``. Raises NotANodeError."""
    if not isinstance(entry, dict):
        raise NotANodeError
    id_ = shown.name(entry.get("service_id"))
    if not id_:
        raise NotANodeError
    report = _report(entry)
    heard_at = shown.moment(entry.get("last_heartbeat"))
    ahead = 0.0 if report.at is None or heard_at is None else report.at - heard_at
    port = shown.count(entry.get("port"))
    metadata = shown.mapping(entry.get("metadata"))
    labels = shown.labels(entry.get("labels"))
    found = Node(
        id=id_,
        service_id=shown.text(entry.get("service_id"), 128),
        service=shown.text(entry.get("service_name"), 128),
        type=shown.text(entry.get("service_type"), 64),
        machine=shown.text(entry.get("node_id"), 128),
        cluster=shown.text(entry.get("cluster_id"), 64),
        address=shown.text(entry.get("address"), 128) + (f":{port}" if port else ""),
        release=shown.text(metadata.get("version"), 64),
        environment=shown.text(metadata.get("environment"), 64),
        labels=labels,
        status=shown.text(entry.get("status"), 32) or "unknown",
        heard_at=heard_at,
        ahead=ahead if ahead > AHEAD else 0.0,
        report=report,
        words="",
    )
    return found._replace(words=_words(found))


def _report(entry: dict[str, Any]) -> Report:
    given = shown.mapping(entry.get("report"))
    numbers = shown.mapping(given.get("metrics"))
    metadata = shown.mapping(entry.get("metadata"))
    health = entry.get("health_status")
    checks, denials = (
        shown.count(numbers.get("checks_total")),
        shown.count(numbers.get("denials_total")),
    )
    return Report(
        at=shown.moment(given.get("timestamp")),
        health=health if isinstance(health, str) and health in HEALTH else "unknown",
        ready=shown.flag(given.get("ready")),
        not_ready_reason=shown.text(given.get("not_ready_reason")),
        digest=shown.text(given.get("policy_digest"), 64),
        generation=shown.count(given.get("policy_generation")),
        version=shown.text(given.get("sidecar_version") or metadata.get("sidecar_version"), 64),
        key_set_age=shown.number(given.get("key_set_age_seconds")),
        checks=checks,
        # More denials than checks is a lie, or two nodes under one id.
        denials=denials if checks is None or denials is None else min(denials, checks),
        p99=shown.number(numbers.get("check_p99_seconds")),
    )


def _words(node: Node) -> str:
    parts = (
        node.id,
        node.service_id,
        node.service,
        node.machine,
        node.cluster,
        node.address,
        node.release,
        node.environment,
        node.report.digest,
        node.report.version,
        *(f"{key}={value}" for key, value in node.labels.items()),
    )
    return "\n".join(parts).lower()


def as_json(node: Node, now: float) -> dict[str, Any]:
    """Return a node as the API shows it; ``now`` is seconds since the epoch."""
    report = node.report
    return {
        "id": node.id,
        "service_id": node.service_id,
        "service": node.service,
        "type": node.type,
        "machine": node.machine,
        "cluster": node.cluster,
        "address": node.address,
        "version": node.release,
        "environment": node.environment,
        "labels": node.labels,
        "status": node.status,
        "last_heartbeat_seconds_ago": age(node, now),
        "clock_ahead_seconds": round(node.ahead, 1),
        **report_json(report),
    }


def report_json(report: Report) -> dict[str, Any]:
    """Return one report as the API shows it."""
    return {
        "reported_at": report.at,
        "health": report.health,
        "ready": report.ready,
        "not_ready_reason": report.not_ready_reason,
        "policy_digest": report.digest,
        "policy_generation": report.generation,
        "sidecar_version": report.version,
        "key_set_age_seconds": report.key_set_age,
        "checks_total": report.checks,
        "denials_total": report.denials,
        "check_p99_seconds": report.p99,
    }


def age(node: Node, now: float) -> float | None:
    """Return the seconds since the last heartbeat, 0 for one in the future, None without one."""
    return None if node.heard_at is None else round(max(now - node.heard_at, 0.0), 1)

"""The overview of a fleet: counted once a listing, so that a viewer costs nothing."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from sidecar.console.fleet.alerts import Alert, of_nodes
from sidecar.console.fleet.fleet import Fleet
from sidecar.console.fleet.nodes import HEALTH, Node, age

MAX_GROUPS: Final = 200  # services, digests or versions that are listed; more are counted only


class Counted(NamedTuple):
    """What a fleet adds up to at one moment."""

    cluster: dict[str, Any]
    checks: dict[str, Any]
    services: list[dict[str, Any]]
    performance: dict[str, Any]
    alerts: tuple[Alert, ...]


def counted(
    fleet: Fleet, now: float, silent: float, tables: Collection[str] | None = None
) -> Counted:
    """Count a fleet; ``silent`` and ``tables`` are as for ``of_nodes``."""
    nodes = list(fleet.nodes.values())
    reports = [node.report for node in nodes]
    ready = Counter(report.ready for report in reports)
    ages = [(r.key_set_age, n.id) for n, r in zip(nodes, reports, strict=True) if r.key_set_age]
    oldest = max(ages, default=(None, ""))
    cluster = {
        "nodes": len(nodes),
        "by_health": dict.fromkeys(HEALTH, 0) | Counter(r.health for r in reports),
        "ready": ready[True],
        "not_ready": ready[False],
        "unknown_readiness": ready[None],
        "silent": sum((age(node, now) or 0.0) > silent for node in nodes),
        "policy_digests": _groups("digest", (r.digest for r in reports)),
        "sidecar_versions": _groups("version", (r.version for r in reports)),
        "oldest_key_set": {"seconds": oldest[0], "node": oldest[1]},
        "refused_entries": fleet.refused,
    }
    alerts = tuple(of_nodes(fleet, now, silent, tables))
    return Counted(cluster, _checks(fleet), _services(nodes), _performance(nodes), alerts)


def _checks(fleet: Fleet) -> dict[str, Any]:
    reports = [node.report for node in fleet.nodes.values()]
    checks = sum(report.checks or 0 for report in reports)
    denials = sum(report.denials or 0 for report in reports)
    return {
        "checks_total": checks,
        "denials_total": denials,
        "denial_ratio": round(denials / checks, 4) if checks else None,
        "checks_per_second": round(sum(rate.checks for rate in fleet.rates.values()), 1),
        "denials_per_second": round(sum(rate.denials for rate in fleet.rates.values()), 1),
    }


def _services(nodes: Iterable[Node]) -> list[dict[str, Any]]:
    groups: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        groups[node.service].append(node)
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "type": members[0].type,
            "instances": len(members),
            "ready": sum(node.report.ready is True for node in members),
            "by_health": dict.fromkeys(HEALTH, 0) | Counter(node.report.health for node in members),
            "policy_digests": sorted({node.report.digest for node in members} - {""})[:8],
            "status": _status(members),
        }
        for name, members in groups.items()
    ]
    return sorted(found, key=lambda each: (-each["instances"], each["name"]))[:MAX_GROUPS]


def _status(members: list[Node]) -> str:
    """Return ``critical`` if no instance can serve, ``warning`` if one cannot, else ``healthy``."""
    serving = [
        node for node in members if node.report.ready is True and node.report.health != "critical"
    ]
    if not serving:
        return "critical"
    whole = all(node.report.health == "healthy" for node in serving)
    return "healthy" if whole and len(serving) == len(members) else "warning"


def _performance(nodes: Iterable[Node]) -> dict[str, Any]:
    known = sorted((n.report.p99, n.id) for n in nodes if n.report.p99 is not None)
    slowest = known[-1] if known else (None, "")
    return {
        "check_p99_seconds": {
            "median_node": known[len(known) // 2][0] if known else None,
            "slowest": slowest[0],
            "slowest_node": slowest[1],
        },
        "nodes_with_checks": len(known),
    }


def _groups(key: str, values: Iterable[str]) -> list[dict[str, Any]]:
    found = Counter(value for value in values if value).most_common(MAX_GROUPS)
    return [{key: value, "nodes": number} for value, number in found]

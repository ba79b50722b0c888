"""The alerts of one listing. docs/console.md has the table of alerts."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from sidecar.console.fleet.fleet import Fleet
from sidecar.console.fleet.nodes import Node, age

OLD_KEYS: Final = 3600.0  # seconds: as docs/operations.md advises; tokens are refused after 24 h
MANY_DENIALS: Final = 0.5  # of the checks per second
FEW_CHECKS: Final = 1.0  # per second, below which a ratio says nothing
MAX_NAMED: Final = 5  # nodes that an alert names


class Alert(NamedTuple):
    """One thing that is wrong; ``code`` is stable. ``about`` names up to MAX_NAMED of them."""

    code: str
    severity: str  # "critical" or "warning"
    number: int
    about: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the alert as the API shows it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "count": self.number,
            "about": self.about,
        }


def of_nodes(
    fleet: Fleet, now: float, silent: float, tables: Collection[str] | None
) -> Iterator[Alert]:
    """Yield the alerts of a fleet. ``tables`` are the digests of known tables, None: none given."""
    nodes = fleet.nodes.values()
    conditions: list[tuple[str, str, list[Node]]] = [
        ("nodes_critical", "critical", [n for n in nodes if n.report.health == "critical"]),
        ("nodes_not_ready", "critical", [n for n in nodes if n.report.ready is False]),
        ("nodes_silent", "critical", [n for n in nodes if (age(n, now) or 0.0) > silent]),
        ("old_key_sets", "warning", [n for n in nodes if (n.report.key_set_age or 0.0) > OLD_KEYS]),
        ("clocks_ahead", "warning", [n for n in nodes if n.ahead]),
    ]
    for code, severity, found in conditions:
        if found:
            yield Alert(code, severity, len(found), tuple(n.id for n in found[:MAX_NAMED]))
    yield from _policies(fleet, tables)
    checks = sum(rate.checks for rate in fleet.rates.values())
    denials = sum(rate.denials for rate in fleet.rates.values())
    if checks >= FEW_CHECKS and denials > MANY_DENIALS * checks:
        yield Alert("many_denials", "warning", round(100 * denials / checks))
    if fleet.refused:
        yield Alert("entries_refused", "warning", fleet.refused)


def _policies(fleet: Fleet, tables: Collection[str] | None) -> Iterator[Alert]:
    by_service: dict[str, set[str]] = defaultdict(set)
    for node in fleet.nodes.values():
        if node.report.digest:
            by_service[node.service].add(node.report.digest)
    several = sorted(service for service, digests in by_service.items() if len(digests) > 1)
    if several:
        yield Alert("several_policies", "warning", len(several), tuple(several[:MAX_NAMED]))
    if tables is not None:
        unknown = sorted(set().union(*by_service.values()).difference(tables))
        if unknown:
            yield Alert("unknown_policies", "warning", len(unknown), tuple(unknown[:MAX_NAMED]))

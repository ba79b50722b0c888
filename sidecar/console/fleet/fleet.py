"""The nodes at one moment, and what follows from the listings before."""

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from sidecar.console.fleet.nodes import Node, NotANodeError, Report, node

MAX_NODES: Final = 20_000  # twice the largest cluster; each costs some 2 KiB
KEPT_REPORTS: Final = 8  # of each node: the page of a node shows them
MAX_RATE_SECONDS: Final = 600.0  # reports further apart give no rate of now


class Rate(NamedTuple):
    """Checks and denials per second between a node's last two reports."""

    checks: float = 0.0
    denials: float = 0.0


class Fleet(NamedTuple):
    """All nodes of one listing, by id. ``refused`` is how many entries are not used."""

    nodes: dict[str, Node]
    rates: dict[str, Rate]
    refused: int = 0


class History:
    """The last reports of each node that is still listed."""

    def __init__(self) -> None:
        self._reports: dict[str, deque[Report]] = {}

    def of(self, id_: str) -> list[Report]:
        """Return a node's last reports, the newest first."""
        return list(reversed(self._reports.get(id_, ())))

    def take(self, entries: Iterable[object]) -> Fleet:
        """Return the fleet of a listing, and remember its reports."""
        nodes: dict[str, Node] = {}
        refused = 0
        for entry in entries:
            try:
                found = node(entry)
            except NotANodeError:
                refused += 1
                continue
            if found.id in nodes or len(nodes) >= MAX_NODES:
                refused += 1
                continue
            nodes[found.id] = found
        reports = {}
        for id_, found in nodes.items():
            kept = self._reports.get(id_) or deque(maxlen=KEPT_REPORTS)
            if not kept or kept[-1] != found.report:
                kept.append(found.report)
            reports[id_] = kept
        self._reports = reports
        return Fleet(nodes, {id_: _rate(kept) for id_, kept in reports.items()}, refused)


def _rate(reports: deque[Report]) -> Rate:
    """Return the rate between the last two reports; none after a restart of the sidecar."""
    if len(reports) < 2:
        return Rate()
    before, last = reports[-2], reports[-1]
    if before.at is None or last.at is None or before.checks is None or last.checks is None:
        return Rate()
    seconds = last.at - before.at
    checks = last.checks - before.checks
    if not 0 < seconds <= MAX_RATE_SECONDS or checks < 0:
        return Rate()
    denials = max((last.denials or 0) - (before.denials or 0), 0)
    return Rate(checks / seconds, min(denials, checks) / seconds)

"""``overall_health`` of a user: can this person work right now? docs/console.md has the rule."""

from typing import Any, Final

from sidecar.console.fleet.nodes import Node, age

MANY_FAILURES: Final = 5  # failed logins in the last hour; a forgotten password needs fewer


def instance_state(node: Node | None, now: float, silent: float) -> str:
    """Return ``critical`` for an instance that cannot serve, ``warning`` if it may not.

    Otherwise ``healthy``. None is an instance that the registry does not list.
    """
    if node is None or node.report.ready is False or node.report.health == "critical":
        return "critical"
    if (age(node, now) or 0.0) > silent:
        return "critical"
    return "healthy" if node.report.health == "healthy" and node.report.ready else "warning"


def overall_health(
    instances: list[str] | None, status: str | None, recent_failed_logins: int | None
) -> str:
    """Return ``healthy``, ``warning``, ``critical`` or ``unknown``.

    ``instances`` are the states of the assigned ones, None where the registry is not known;
    ``status`` is Zervi's word for the user, None where Zervi is not known.
    """
    if status not in (None, "active", "unknown"):
        return "critical"  # Zervi refuses users who are not active
    if instances and all(state == "critical" for state in instances):
        return "critical"
    if instances is None or status is None:
        return "unknown"
    if any(state != "healthy" for state in instances):
        return "warning"
    return "warning" if (recent_failed_logins or 0) >= MANY_FAILURES else "healthy"


def of_metrics(metrics: dict[str, Any] | None) -> int | None:
    """Return the recent failed logins of a user's metrics."""
    return None if metrics is None else metrics.get("recent_failed_logins")

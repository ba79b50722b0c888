"""Writes the Grafana dashboards: ``deploy/grafana/{node,fleet}.json``.

A panel is a title, its queries, and a unit; everything else that Grafana needs is the same for all.
``python -m tests.generated_dashboards`` compares, and with ``--write`` writes.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

DIRECTORY: Final = Path(__file__).parents[1] / "deploy" / "grafana"
WIDTH: Final = 24  # columns of Grafana's grid
HEIGHT: Final = 8


class Panel(NamedTuple):
    """A panel; ``kind`` is Grafana's name of it, ``legend`` how a series is called.

    ``expr`` is a PromQL expression, or several by legend. In it ``OF`` stands for the labels of
    what the dashboard shows, and ``RATE`` for the interval of a rate. ``width`` is in columns.
    """

    title: str
    expr: str | Mapping[str, str]
    legend: str = ""
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    about: str = ""

    def queries(self, of: str) -> Iterator[dict[str, str]]:
        """Yield Grafana's targets."""
        named = {self.legend: self.expr} if isinstance(self.expr, str) else self.expr
        for index, (legend, expr) in enumerate(named.items()):
            full = expr.replace("OF", of).replace("RATE", "$__rate_interval")
            yield {"refId": chr(65 + index), "expr": full, "legendFormat": legend or "__auto"}


P99: Final = (
    "histogram_quantile(0.99, sum by (le) (rate(zervi_sidecar_check_seconds_bucket{OF}[RATE])))"
)
P50: Final = P99.replace("0.99", "0.5")
READY: Final = 'zervi_sidecar_ready{OF, component="sidecar"}'
DENIED: Final = 'zervi_sidecar_checks_total{OF, decision="deny"}[RATE]'
FETCHED: Final = "zervi_sidecar_jwks_last_success_timestamp_seconds{OF}"
SMALL: Final = 4  # columns of one number

CHECKS: Final = (
    Panel(
        "Checks",
        "sum by (decision) (rate(zervi_sidecar_checks_total{OF}[RATE]))",
        "{{decision}}",
        "reqps",
    ),
    Panel("Denials by reason", f"sum by (reason) (rate({DENIED}))", "{{reason}}", "reqps"),
    Panel(
        "Denials by route",
        f"topk(10, sum by (route) (rate({DENIED})))",
        "{{route}}",
        "reqps",
        about="A request that no route matches has no name here.",
    ),
    Panel("Duration of a Check", {"p50": P50, "p99": P99}, unit="s", width=WIDTH),
)
NODE: Final[Mapping[str, tuple[Panel, ...]]] = {
    "This node": (
        Panel(
            "Ready",
            f"min({READY})",
            unit="bool_yes_no",
            kind="stat",
            width=SMALL,
        ),
        Panel(
            "Basic Server",
            "zervi_sidecar_upstream_state{OF} == 1",
            "{{state}}",
            kind="stat",
            width=SMALL,
        ),
        Panel("Version", "zervi_sidecar_build_info{OF}", "{{version}}", kind="stat", width=SMALL),
        Panel("Policy", "zervi_sidecar_policy_info{OF}", "{{digest}}", kind="stat", width=SMALL),
        Panel(
            "Components",
            "min by (component) (zervi_sidecar_ready{OF})",
            "{{component}}",
            "bool_yes_no",
            "state-timeline",
        ),
    ),
    "Checks": CHECKS,
    "Tokens, keys and the registry": (
        Panel(
            "Token cache",
            "sum by (result) (rate(zervi_sidecar_token_cache_requests_total{OF}[RATE]))",
            "{{result}}",
            "reqps",
        ),
        Panel("Token cache: size", "zervi_sidecar_token_cache_bytes{OF}", "bytes", "bytes"),
        Panel("Age of key sets", f"time() - {FETCHED}", "{{issuer}}", "s"),
        Panel("Usable keys", "zervi_sidecar_jwks_keys{OF}", "{{issuer}}"),
        Panel(
            "Fetches of key sets",
            "sum by (issuer, result) (rate(zervi_sidecar_jwks_refreshes_total{OF}[RATE]))",
            "{{issuer}} {{result}}",
            "reqps",
        ),
        Panel(
            "Calls of the registry",
            "sum by (operation, result) (rate(zervi_sidecar_looma_requests_total{OF}[RATE]))",
            "{{operation}} {{result}}",
            "reqps",
        ),
    ),
    "Process": (
        Panel("CPU", "rate(process_cpu_seconds_total{OF}[RATE])", "CPU", "percentunit"),
        Panel("Memory", "process_resident_memory_bytes{OF}", "resident", "bytes"),
        Panel(
            "Reloads, and lines dropped from the log",
            {
                "reload: {{result}}": "increase(zervi_sidecar_policy_reloads_total{OF}[$__range])",
                "dropped lines": "increase(zervi_sidecar_decision_log_dropped_total{OF}[$__range])",
            },
        ),
    ),
    "Envoy (all of the job: an Envoy has another address than its sidecar)": (
        Panel(
            "Answers",
            "sum by (envoy_response_code_class) (rate(envoy_http_downstream_rq_xx"
            '{job=~"$job", envoy_http_conn_manager_prefix="ingress"}[RATE]))',
            "{{envoy_response_code_class}}xx",
            "reqps",
            width=12,
        ),
        Panel(
            "Stopped by the second lock",
            'sum(increase(envoy_http_rbac_denied{job=~"$job"}[$__range]))',
            kind="stat",
            width=12,
            about="Requests that the sidecar had not allowed. Any is worth a look.",
        ),
    ),
}
FLEET: Final[Mapping[str, tuple[Panel, ...]]] = {
    "All nodes": (
        Panel(
            "Ready", 'sum(zervi_sidecar_ready{OF, component="sidecar"})', kind="stat", width=SMALL
        ),
        Panel("Nodes", "count(zervi_sidecar_build_info{OF})", kind="stat", width=SMALL),
        Panel(
            "Versions",
            "count by (version) (zervi_sidecar_build_info{OF})",
            "{{version}}",
            kind="bargauge",
        ),
        Panel(
            "Policies",
            "count by (digest) (zervi_sidecar_policy_info{OF})",
            "{{digest}}",
            kind="bargauge",
        ),
    ),
    "Checks": CHECKS,
    "Outliers": (
        Panel(
            "Share of denials",
            f"sum(rate({DENIED})) / sum(rate(zervi_sidecar_checks_total{{OF}}[RATE]))",
            "denied",
            "percentunit",
        ),
        Panel(
            "Slowest nodes, p99",
            f"topk(5, {P99.replace('by (le)', 'by (instance, le)')})",
            "{{instance}}",
            "s",
        ),
        Panel("Oldest key sets", f"topk(5, time() - {FETCHED})", "{{instance}} {{issuer}}", "s"),
        Panel(
            "Basic Servers by state",
            "sum by (state) (zervi_sidecar_upstream_state{OF})",
            "{{state}}",
        ),
        Panel(
            "Most CPU",
            "topk(5, rate(process_cpu_seconds_total{OF}[RATE]))",
            "{{instance}}",
            "percentunit",
        ),
        Panel(
            "Most memory",
            "topk(5, process_resident_memory_bytes{OF})",
            "{{instance}}",
            "bytes",
        ),
    ),
    "Gateways": (
        Panel(
            "Instances by health",
            "sum by (target, health) (zervi_sidecar_gateway_instances{OF})",
            "{{target}} {{health}}",
        ),
        Panel(
            "Placements",
            "sum by (target, result) (rate(zervi_sidecar_gateway_picks_total{OF}[RATE]))",
            "{{target}} {{result}}",
            "reqps",
        ),
        Panel(
            "Age of the directory",
            "max by (instance) (zervi_sidecar_gateway_directory_age_seconds{OF})",
            "{{instance}}",
            "s",
        ),
    ),
}
OF_NODE: Final = 'job=~"$job", instance=~"$instance"'
OF_FLEET: Final = 'job=~"$job"'


def dashboard(
    uid: str, title: str, rows: Mapping[str, tuple[Panel, ...]], of: str
) -> dict[str, Any]:
    """Return Grafana's JSON model of a dashboard (schema version 39, Grafana 11)."""
    panels: list[dict[str, Any]] = []
    top = 0
    for heading, below in rows.items():
        panels.append(_row(heading, len(panels) + 1, top))
        top += 1
        left = 0
        for panel in below:
            if left + panel.width > WIDTH:
                top, left = top + HEIGHT, 0
            panels.append(_panel(panel, of, len(panels) + 1, left, top))
            left += panel.width
        top += HEIGHT
    variables = [_variable("job", "label_values(zervi_sidecar_build_info, job)")]
    if of is OF_NODE:
        query = 'label_values(zervi_sidecar_build_info{job=~"$job"}, instance)'
        variables.append(_variable("instance", query))
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid,
        "title": title,
        "tags": ["zervi-sidecar"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "panels": panels,
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _row(title: str, number: int, top: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
        "panels": [],
    }


def _panel(panel: Panel, of: str, number: int, left: int, top: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": _options(panel),
        "targets": list(panel.queries(of)),
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind != "stat":
        return {}
    return {
        "textMode": "name" if panel.legend else "value",
        "reduceOptions": {"calcs": ["lastNotNull"]},
    }


def texts() -> dict[Path, str]:
    """Return the content of each file."""
    made = {
        "node": dashboard("zervi-node", "Zervi sidecar: one node", NODE, OF_NODE),
        "fleet": dashboard("zervi-fleet", "Zervi sidecars: all nodes", FLEET, OF_FLEET),
    }
    return {
        DIRECTORY / f"{name}.json": json.dumps(content, indent=1) + "\n"
        for name, content in made.items()
    }


def main() -> int:
    """Compare or write the files; return 1 if one differs."""
    for path, text in texts().items():
        if "--write" in sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.name} is out of date: make dashboards")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The examples of automatic scaling in docs/gateway.md: fields and queries hold."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.ops.exposition import render
from sidecar.ops.gateway_metrics import GatewayValues
from sidecar.ops.metrics import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]

TARGET = "basic-server-*"
USERS = {(TARGET, "10.0.0.1:80"): 70, (TARGET, "10.0.0.2:80"): 80, ("other", "10.0.0.3:80"): 9}


def _block(key: str, value: str | None = None) -> Any:
    (found,) = [each for each in BLOCKS if key in each and value in (None, each[key])]
    return found


KEDA = _block("kind", "ScaledObject")
HPA = _block("kind", "HorizontalPodAutoscaler")
ADAPTER = _block("externalRules")["externalRules"][0]


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field_of_the_hpa(version: str) -> None:
    kubernetes_validate.validate(HPA, version, strict=True)


def test_keda_and_the_hpa_scale_alike() -> None:
    trigger = KEDA["spec"]["triggers"][0]["metadata"]
    (metric,) = HPA["spec"]["metrics"]
    assert trigger["query"] == ADAPTER["metricsQuery"]
    assert metric["external"]["metric"]["name"] == ADAPTER["name"]["as"]
    assert metric["external"]["target"]["averageValue"] == trigger["threshold"]
    assert HPA["spec"]["minReplicas"] == KEDA["spec"]["minReplicaCount"]
    assert HPA["spec"]["maxReplicas"] == KEDA["spec"]["maxReplicaCount"]


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
def test_the_query_counts_the_users_of_the_target_as_the_sidecar_shows_them(
    tmp_path: Path,
) -> None:
    """Prometheus itself evaluates the query over a scrape of a gateway."""
    metrics = Metrics("1.0")
    metrics.gateway = lambda: GatewayValues(users=USERS)
    lines = render(metrics.values()).decode().splitlines()
    shown = [line.rpartition(" ") for line in lines if line.startswith(ADAPTER["seriesQuery"])]
    assert len(shown) == len(USERS)
    test = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": f"{float(value):g}x3"}
                    for series, _, value in shown
                ],
                "promql_expr_test": [
                    {
                        "expr": ADAPTER["metricsQuery"],
                        "eval_time": "2m",
                        "exp_samples": [{"value": 150}],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(json.dumps(test))
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr

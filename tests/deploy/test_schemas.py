"""kubeconform takes the resources of others in ``deploy/``, by the schemas that those publish.

Kubernetes' own are in tests/deploy/test_chart.py.
"""

import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy import schemas
from tests.deploy.charts import CHART, Manifest, template
from tests.deploy.programs import ROOT, need
from tests.deploy.test_chart import BASE, CONFIG, EVERYTHING, GATEWAY, OPERATOR

FILES = [
    path
    for name in ("istio", "envoy-gateway")
    for path in sorted((ROOT / "deploy" / name).glob("*.yaml"))
    if path.name != "mesh-config.yaml"  # values of an installation: tests/deploy/test_meshes.py
]


class Judge:
    """kubeconform with every schema."""

    def __init__(self, directory: Path) -> None:
        self._program = need("kubeconform")
        self._arguments = schemas.write(directory)

    def says(self, manifests: list[Manifest]) -> tuple[int, str]:
        """Return its exit code and output."""
        command = [self._program, *self._arguments, "-summary", "-verbose", "-"]
        text = yaml.safe_dump_all(manifests)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(tmp_path_factory.mktemp("schemas"))


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
def test_everything_that_the_chart_renders_is_valid(judge: Judge, mode: str) -> None:
    values = {**BASE, **EVERYTHING, "mode": mode, "config": CONFIG}
    if mode == "gateway":
        values["config"] = GATEWAY
    manifests = template(need("helm"), CHART, values, "--kube-version", "1.37.0")
    others = [each for each in manifests if each["kind"] in OPERATOR]
    assert [each["kind"] for each in others] == list(OPERATOR)
    code, said = judge.says(others)
    assert code == 0, said


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_resource_for_a_mesh_is_valid(judge: Judge, path: Path) -> None:
    manifests = list(yaml.safe_load_all(path.read_text()))
    own = [each for each in manifests if each["apiVersion"] in ("v1", "apps/v1")]
    for each in own:
        kubernetes_validate.validate(each, "1.37", strict=True)
    code, said = judge.says([each for each in manifests if each not in own])
    assert code == 0, said


@pytest.mark.parametrize(
    ("kind", "version", "spec"),
    [
        ("PodMonitor", "monitoring.coreos.com/v1", {"selector": {}, "podMetrics": []}),
        ("SecurityPolicy", "gateway.envoyproxy.io/v1alpha1", {"extAuth": {"failOpened": False}}),
        ("AuthorizationPolicy", "security.istio.io/v1", {"action": "ASK"}),
    ],
)
def test_a_field_or_a_value_that_does_not_exist_is_found(
    judge: Judge, kind: str, version: str, spec: Manifest
) -> None:
    manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    code, said = judge.says([manifest])
    assert code == 1
    assert "is invalid" in said

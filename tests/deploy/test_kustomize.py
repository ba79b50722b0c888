"""The kustomize component makes a guarded Deployment of a plain one."""

import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from sidecar.cli import main
from sidecar.config import load
from tests.deploy.charts import Manifest, one
from tests.deploy.programs import ROOT, need

EXAMPLE = ROOT / "deploy/kustomize/example"


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    done = subprocess.run(
        [need("kustomize"), "build", str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def pod(manifests: list[Manifest]) -> Manifest:
    found: Manifest = one(manifests, "Deployment")["spec"]["template"]["spec"]
    return found


def test_kubernetes_takes_what_it_builds(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.30", strict=True)


def test_envoy_and_the_sidecar_are_added_and_the_own_container_stays(
    manifests: list[Manifest],
) -> None:
    (own,) = one(yaml_of(EXAMPLE / "deployment.yaml"), "Deployment")["spec"]["template"]["spec"][
        "containers"
    ]
    assert pod(manifests)["containers"] == [own]
    names = [each["name"] for each in pod(manifests)["initContainers"]]
    assert names == ["zervi-envoy-config", "zervi-sidecar", "envoy"]


def yaml_of(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def test_the_volumes_are_the_generated_configuration_and_secret(
    manifests: list[Manifest],
) -> None:
    """Their names end in a digest of the content, so that the pods start again."""
    volumes = {each["name"]: each for each in pod(manifests)["volumes"]}
    config = one(manifests, "ConfigMap")["metadata"]["name"]
    secret = one(manifests, "Secret")["metadata"]["name"]
    assert config.startswith("zervi-sidecar-")
    assert volumes["zervi-config"]["configMap"]["name"] == config
    assert volumes["zervi-secrets"]["secret"]["secretName"] == secret


def test_the_examples_addresses_are_those_of_the_patch(
    manifests: list[Manifest], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in one(manifests, "ConfigMap")["data"].items():
        (tmp_path / name).write_text(text)
    listen = load(tmp_path / "sidecar.yaml", {}, offline=True).settings.listen
    generate, sidecar, envoy = pod(manifests)["initContainers"]
    assert f"0.0.0.0:{sidecar['livenessProbe']['grpc']['port']}" == listen.health
    arguments = [each.replace("/etc/zervi/", f"{tmp_path}/") for each in generate["args"][:-1]]
    assert main(arguments) == 0
    bootstrap = yaml.safe_load(capsys.readouterr().out)
    ports = [
        each["address"]["socket_address"]["port_value"]
        for each in bootstrap["static_resources"]["listeners"]
    ]
    assert [each["containerPort"] for each in envoy["ports"]] == ports
    mounted = {each["name"] for each in envoy["volumeMounts"]}
    assert str(listen.authz).startswith("unix:/run/zervi/")
    assert "zervi-run" in mounted

"""The Kubernetes manifests: Kubernetes' schemas and the sidecar take them, and the parts fit."""

import argparse
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from demo.stack import BOOTSTRAPS
from sidecar.app.listeners import STOP_SECONDS
from sidecar.app.run import LOG_SECONDS
from sidecar.cli import admin_socket, leave
from sidecar.config import Config, load

MANIFESTS = list(yaml.safe_load_all((BOOTSTRAPS / "kubernetes.yaml").read_text()))

Manifest = dict[str, Any]


def _manifest(kind: str, name: str) -> Manifest:
    (found,) = [m for m in MANIFESTS if m["kind"] == kind and m["metadata"]["name"] == name]
    manifest: Manifest = found
    return manifest


POD: Manifest = _manifest("Deployment", "basic-server")["spec"]["template"]["spec"]
CONTAINERS = {entry["name"]: entry for entry in (*POD["initContainers"], *POD["containers"])}


SECRETS = "/etc/zervi-secrets"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Load the ConfigMap as the sidecar does, with the Deployment's environment and Secret."""
    for key in ("jwt-secret", "service-secret"):  # as the manifest's head has them made
        (tmp_path / key).write_text(f"a made-up {key}, long enough for a secret\n")
    for name, text in _manifest("ConfigMap", "zervi-sidecar")["data"].items():
        (tmp_path / name).write_text(text.replace(SECRETS, str(tmp_path)))
    environment = {
        entry["name"]: f"a made-up value of {entry['name']}"
        for entry in CONTAINERS["zervi-sidecar"]["env"]
    }
    return load(tmp_path / "sidecar.yaml", {**environment, "POD_IP": "10.0.0.7"})


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata']['name']}"
)
def test_kubernetes_knows_every_field(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_envoys_bootstrap_is_the_one_in_envoy_uds_yaml_but_for_what_a_pod_needs() -> None:
    """Its admin socket is in a directory of its own, its stats are for scrapers of the cluster."""
    deployed = yaml.safe_load(_manifest("ConfigMap", "envoy")["data"]["envoy.yaml"])
    text = (BOOTSTRAPS / "envoy-uds.yaml").read_text()
    text = text.replace("/tmp/envoy-admin.sock", "/run/envoy/admin.sock")
    expected = yaml.safe_load(text)
    stats = expected["static_resources"]["listeners"][1]["address"]["socket_address"]
    assert (stats["address"], stats["port_value"]) == ("127.0.0.1", 9901)
    stats["address"] = "0.0.0.0"
    assert deployed == expected


def test_only_envoy_mounts_the_directory_of_its_admin_socket() -> None:
    bootstrap = yaml.safe_load(_manifest("ConfigMap", "envoy")["data"]["envoy.yaml"])
    directory = str(Path(bootstrap["admin"]["address"]["pipe"]["path"]).parent)
    mounts = [
        (name, mount["name"])
        for name, container in CONTAINERS.items()
        for mount in container.get("volumeMounts", [])
        if mount["mountPath"] == directory
    ]
    assert mounts == [("envoy", "envoy-run")]
    shared = [
        name
        for name, container in CONTAINERS.items()
        for mount in container.get("volumeMounts", [])
        if mount["name"] == "envoy-run"
    ]
    assert shared == ["envoy"]


def test_envoys_probes_find_the_stats_listener() -> None:
    bootstrap = yaml.safe_load(_manifest("ConfigMap", "envoy")["data"]["envoy.yaml"])
    stats = bootstrap["static_resources"]["listeners"][1]
    envoy = CONTAINERS["envoy"]
    port = stats["address"]["socket_address"]["port_value"]
    assert {"name": "stats", "containerPort": port} in envoy["ports"]
    for probe in ("startupProbe", "readinessProbe"):
        assert envoy[probe]["httpGet"] == {"path": "/ready", "port": "stats"}


def test_the_sidecar_takes_its_configuration_without_a_warning(config: Config) -> None:
    assert config.warnings == ()
    assert len(config.policy.routes) == 3


def test_the_sidecar_and_envoy_meet_at_one_socket(config: Config) -> None:
    address = config.settings.listen.authz
    bootstrap = yaml.safe_load(_manifest("ConfigMap", "envoy")["data"]["envoy.yaml"])
    (cluster,) = [
        cluster
        for cluster in bootstrap["static_resources"]["clusters"]
        if cluster["name"] == "authz"
    ]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    path = Path(endpoint["address"]["pipe"]["path"])
    assert address == f"unix:{path}"
    for name in ("zervi-sidecar", "envoy"):
        mounts = {m["mountPath"]: m["name"] for m in CONTAINERS[name]["volumeMounts"]}
        assert mounts[str(path.parent)] == "zervi-run"
    assert "volumeMounts" not in CONTAINERS["basic-server"]


def test_probes_from_outside_the_pod_find_the_health_address(config: Config) -> None:
    assert config.settings.listen.health == "0.0.0.0:9003"
    probes = [
        container[probe]["grpc"]
        for container in (CONTAINERS["zervi-sidecar"], CONTAINERS["basic-server"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        if probe in container
    ]
    assert {probe["port"] for probe in probes} == {9003}
    assert {probe.get("service", "") for probe in probes} == {"", "liveness", "upstream"}


def test_the_sidecar_starts_before_envoy_and_so_stops_after_it() -> None:
    assert [entry["name"] for entry in POD["initContainers"]] == ["zervi-sidecar", "envoy"]
    assert {entry["restartPolicy"] for entry in POD["initContainers"]} == {"Always"}


def test_the_sidecar_leaves_the_registry_as_soon_as_the_pod_begins_to_end(config: Config) -> None:
    hook = CONTAINERS["zervi-sidecar"]["lifecycle"]["preStop"]["exec"]["command"]
    (entrypoint,) = [
        json.loads(line.removeprefix("ENTRYPOINT "))
        for line in (BOOTSTRAPS.parent / "Dockerfile").read_text().splitlines()
        if line.startswith("ENTRYPOINT ")
    ]
    assert hook[: len(entrypoint)] == entrypoint
    parser = argparse.ArgumentParser()
    leave.arguments(parser)
    assert hook[len(entrypoint)] == "leave"
    given = parser.parse_args(hook[len(entrypoint) + 1 :])
    serve = CONTAINERS["zervi-sidecar"]["args"]
    assert serve == ["serve", "--config", str(given.config or admin_socket.DEFAULT_CONFIG)]
    asleep = CONTAINERS["basic-server"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert given.wait == asleep  # a sidecar in `containers` gets its SIGTERM after that


def test_the_admin_socket_is_in_a_directory_that_only_the_sidecar_mounts(config: Config) -> None:
    address = config.settings.listen.admin
    assert address == "unix:/run/zervi-admin/admin.sock"
    directory = str(Path(address.removeprefix("unix:")).parent)
    mounts = [
        (name, mount["name"], mount["mountPath"])
        for name, container in CONTAINERS.items()
        for mount in container.get("volumeMounts", ())
        if mount["name"] == "zervi-admin" or mount["mountPath"].startswith(directory)
    ]
    assert mounts == [("zervi-sidecar", "zervi-admin", directory)]


def test_there_is_time_to_leave_and_to_drain(config: Config) -> None:
    """The sum of docs/operations.md, with what the Basic Server may take for its own end."""
    asleep = CONTAINERS["basic-server"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert (
        asleep >= admin_socket.SECONDS
    )  # Looma's clients learn of it before the Basic Server ends
    drained = config.settings.drain + STOP_SECONDS + 2 * LOG_SECONDS
    assert asleep + 20 + drained < POD["terminationGracePeriodSeconds"]


def test_the_basic_server_is_on_loopback_and_nothing_points_at_it() -> None:
    basic_server = CONTAINERS["basic-server"]
    assert {"name": "HOST", "value": "127.0.0.1"} in basic_server["env"]
    assert "ports" not in basic_server
    (port,) = _manifest("Service", "basic-server")["spec"]["ports"]
    assert port["targetPort"] == "http"
    assert {"name": "http", "containerPort": 10000} in CONTAINERS["envoy"]["ports"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_no_container_is_root_or_can_become_it(name: str) -> None:
    context = CONTAINERS[name]["securityContext"]
    assert context["runAsUser"] >= 65532
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert set(CONTAINERS[name]["resources"]) == {"requests", "limits"}


def test_secrets_are_files_of_a_secret_that_only_the_sidecar_reads() -> None:
    """Not in the environment, which child processes inherit and /proc shows."""
    (volume,) = [each for each in POD["volumes"] if "secret" in each]
    assert volume["secret"] == {"secretName": "zervi-sidecar", "defaultMode": 0o440}
    assert (
        POD["securityContext"]["fsGroup"]
        == CONTAINERS["zervi-sidecar"]["securityContext"]["runAsGroup"]
    )
    mounts = {
        name: [each for each in container.get("volumeMounts", ()) if each["name"] == volume["name"]]
        for name, container in CONTAINERS.items()
    }
    mount = {"name": volume["name"], "mountPath": SECRETS, "readOnly": True}
    assert mounts == {"zervi-sidecar": [mount], "envoy": [], "basic-server": []}
    for container in CONTAINERS.values():
        assert "envFrom" not in container
        assert not [each for each in container.get("env", ()) if "secretKeyRef" in str(each)]
    assert "Secret" not in {manifest["kind"] for manifest in MANIFESTS}
    assert "secret_env" not in _manifest("ConfigMap", "zervi-sidecar")["data"]["sidecar.yaml"]


def test_a_network_policy_opens_envoys_door_to_clients_and_the_rest_to_monitoring_only() -> None:
    policy = _manifest("NetworkPolicy", "basic-server")["spec"]
    deployment = _manifest("Deployment", "basic-server")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"] == {"matchLabels": labels}
    assert policy["policyTypes"] == ["Ingress"]
    ports = {
        port["name"]: port["containerPort"]
        for container in CONTAINERS.values()
        for port in container.get("ports", ())
    }
    clients, monitoring = policy["ingress"]
    assert clients == {"ports": [{"port": ports.pop("http")}]}
    assert [set(peer) for peer in monitoring["from"]] == [{"namespaceSelector"}]
    # The kubelet's probes come from the pod's own node, which no policy holds up.
    scraped = {each["port"] for each in monitoring["ports"]}
    assert ports.pop("health") not in scraped
    assert scraped >= set(ports.values())
    assert 10000 not in scraped

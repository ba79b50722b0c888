"""The chart: helm, Kubernetes' schemas, the sidecar and Envoy take what it renders."""

import itertools
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from demo.envoy import program
from sidecar.cli import main
from sidecar.config import load
from sidecar.documents import own_yaml
from tests.deploy.charts import CHART, EXAMPLE, Manifest, example, one, template
from tests.deploy.programs import need

CONFIG = """\
zervi:
  issuers: [{issuer: jobfirst-auth, secret_file: /etc/zervi-secrets/jwt-secret}] # a comment
policy: {file: routes.yaml, cors: {origins: ["https://app.example"]}}
"""
ROUTES = 'api_gateway: {routes: [{path: "/api/*", target: "basic-server-*"}]}\n'
BASE: Manifest = {"config": CONFIG, "routes": ROUTES, "workloadLabels": {"app": "shop"}}
GATEWAY = f"{CONFIG}gateway:\n  envoy_dir: /run/zervi/envoy\n  allow_networks: [10.0.0.0/8]\n"
GATEWAY += "  tls: {san: '{service}.mesh.example'}\n"
EVERYTHING: Manifest = {
    "existingSecret": "zervi",
    "image": {"digest": "sha256:" + "a" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "env": [{"name": "REGION", "value": "eu"}],
    "envoy": {"tlsSecret": "edge", "targetsSecret": "mesh", "concurrency": 4},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True},
    "networkPolicy": {"from": [{"podSelector": {"matchLabels": {"app": "edge"}}}]},
    "autoscaling": {"enabled": True, "minReplicas": 3},
    "podDisruptionBudget": {"maxUnavailable": "25%"},
    "service": {"type": "LoadBalancer", "port": 443, "annotations": {"cloud": "internal"}},
    "podLabels": {"team": "edge"},
    "podAnnotations": {"note": "x"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "edge", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
OPERATOR = ("PodMonitor", "PrometheusRule")  # tests/deploy/test_schemas.py has their schemas
MATRIX = [
    pytest.param(values, version, id="-".join((mode, size, socket, native, version)))
    for mode, size, (socket, native, version) in itertools.product(
        ("sidecar", "gateway"),
        ("least", "everything"),
        (
            ("unix", "auto", "1.37"),
            ("unix", "auto", "1.30"),
            ("tcp", "auto", "1.29"),
            ("unix", "never", "1.30"),
            ("tcp", "auto", "1.26"),
        ),
    )
    for values in (
        {
            **BASE,
            **(EVERYTHING if size == "everything" else {}),
            "mode": mode,
            "config": CONFIG if mode == "sidecar" else GATEWAY,
            "socket": socket,
            "nativeSidecars": native,
        },
    )
]


@pytest.fixture(scope="module")
def helm() -> str:
    return need("helm")


def of(version: str) -> tuple[str, str]:
    """Return the arguments that name the cluster's version."""
    return "--kube-version", f"{version}.0"


def rendered(helm: str, values: Manifest, version: str = "1.37") -> list[Manifest]:
    return template(helm, CHART, values, *of(version))


@pytest.mark.parametrize("chart", [CHART, EXAMPLE], ids=lambda path: path.name)
def test_helm_lint_has_no_remark(helm: str, chart: Path, tmp_path: Path) -> None:
    given, values = (chart, BASE) if chart == CHART else (example(tmp_path), {})
    command = [helm, "lint", "--strict", str(given), "-f", "-"]
    done = subprocess.run(
        command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("path", sorted(CHART.glob("ci/*.yaml")), ids=lambda path: path.name)
def test_the_values_in_ci_render(helm: str, path: Path) -> None:
    for manifest in rendered(helm, own_yaml.read(path)):
        kubernetes_validate.validate(manifest, "1.37", strict=True)


@pytest.mark.parametrize(("values", "version"), MATRIX)
def test_each_combination_is_valid_and_gives_no_container_more_than_it_needs(
    helm: str, values: Manifest, version: str
) -> None:
    manifests = rendered(helm, values, version)
    for manifest in manifests:
        if manifest["kind"] not in OPERATOR:
            kubernetes_validate.validate(manifest, version, strict=True)
    gateway = {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"}
    kinds = {each["kind"] for each in manifests}
    assert kinds & gateway == (gateway if values["mode"] == "gateway" else set())
    assert set(OPERATOR) <= kinds or "podMonitor" not in values
    if values["mode"] == "gateway":
        no_container_is_root_and_only_the_right_ones_see_secrets_and_sockets(pod_of(manifests))


@pytest.mark.parametrize("version", ["1.37", "1.30", "1.29", "1.26"])
def test_the_example_is_valid_in_each_version(helm: str, version: str, tmp_path: Path) -> None:
    for manifest in template(helm, example(tmp_path), {}, *of(version)):
        kubernetes_validate.validate(manifest, version, strict=True)


def pod_of(manifests: list[Manifest]) -> Manifest:
    pod: Manifest = one(manifests, "Deployment")["spec"]["template"]["spec"]
    return pod


def run(pod: Manifest, manifests: list[Manifest], directory: Path) -> Manifest:
    """Run the pod's init container as the kubelet does; return what Envoy would read.

    The volumes are directories below ``directory``, and so are the paths in its arguments.
    """
    config = directory / "etc/zervi"
    config.mkdir(parents=True)
    (directory / "etc/envoy-config").mkdir()
    (volume,) = [each for each in pod["volumes"] if each["name"] == "zervi-config"]
    for name, text in one(manifests, "ConfigMap", volume["configMap"]["name"])["data"].items():
        (config / name).write_text(text)
    arguments = [
        each.replace("/etc/", f"{directory}/etc/") for each in pod["initContainers"][0]["args"]
    ]
    arguments = [each.replace(f"{directory}/etc/envoy/", "/etc/envoy/") for each in arguments]
    assert main(arguments) == 0
    text = (directory / "etc/envoy-config/envoy.yaml").read_text()
    bootstrap: Manifest = yaml.safe_load(text)
    return bootstrap


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
@pytest.mark.parametrize("socket", ["unix", "tcp"])
def test_envoy_takes_what_the_init_container_writes_and_doctor_finds_nothing(
    helm: str, mode: str, socket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if mode == "gateway":
        manifests = rendered(helm, {**BASE, "mode": mode, "config": GATEWAY, "socket": socket})
    else:
        manifests = template(
            helm, example(tmp_path / "chart"), {"zervi-sidecar": {"socket": socket}}, *of("1.37")
        )
    pod = pod_of(manifests)
    bootstrap = run(pod, manifests, tmp_path)
    envoy = tmp_path / "etc/envoy-config/envoy.yaml"
    config = tmp_path / "etc/zervi/sidecar.yaml"
    assert main(["doctor", str(envoy), "--config", str(config), "--strict"]) == 0
    envoy.write_text(envoy.read_text().replace("/run/zervi/envoy", str(tmp_path)))
    for name in ("clusters.json", "routes.json"):  # which the sidecar writes when it starts
        (tmp_path / name).write_text('{"resources": []}')
    done = subprocess.run(
        [program(), "--mode", "validate", "--config-path", envoy], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    settings = load(config, {}, offline=True).settings
    ports = {
        port["name"]: port["containerPort"]
        for container in (*pod["initContainers"], *pod["containers"])
        for port in container.get("ports", ())
    }
    listeners = [
        each["address"]["socket_address"]["port_value"]
        for each in bootstrap["static_resources"]["listeners"]
    ]
    assert listeners == [ports["http"], ports["envoy-stats"]]
    assert settings.listen.ops == f"0.0.0.0:{ports['zervi-ops']}"
    assert settings.listen.health == f"0.0.0.0:{ports['zervi-health']}"


def test_the_port_is_the_one_that_the_registry_lists(helm: str) -> None:
    looma = "looma:\n  url: https://looma\n  service: {name: g, address: 10.0.0.1, port: 8443}\n"
    manifests = rendered(helm, {**BASE, "mode": "gateway", "config": GATEWAY + looma})
    (envoy,) = pod_of(manifests)["containers"]
    assert {"name": "http", "containerPort": 8443} in envoy["ports"]
    assert one(manifests, "NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"port": 8443}]


def test_the_configuration_keeps_its_comments_and_may_be_yaml_in_the_values(helm: str) -> None:
    text = one(rendered(helm, BASE), "ConfigMap")["data"]["sidecar.yaml"]
    assert text.startswith(CONFIG)
    loaded = rendered(helm, {**BASE, "config": yaml.safe_load(CONFIG)})
    assert yaml.safe_load(one(loaded, "ConfigMap")["data"]["sidecar.yaml"]) == yaml.safe_load(text)


def test_native_sidecars_where_the_cluster_has_them(helm: str, tmp_path: Path) -> None:
    chart = example(tmp_path)
    both = ["zervi-sidecar", "envoy"]
    for version, native in (("1.28", False), ("1.29", True), ("1.37", True)):
        pod = pod_of(template(helm, chart, {}, *of(version)))
        names = [each["name"] for each in pod["initContainers"]]
        assert names == ["zervi-envoy-config", *(both if native else [])]
        ours = pod["initContainers"][1:] if native else pod["containers"][:2]
        assert [each["name"] for each in ours] == both
        assert {each.get("restartPolicy") for each in ours} == {"Always" if native else None}


def test_where_a_pre_stop_cannot_sleep_envoys_image_has_the_program(helm: str) -> None:
    """The distroless image has none; in a gateway Envoy itself waits."""
    for version, distroless in (("1.29", False), ("1.30", True)):
        pod = pod_of(rendered(helm, {**BASE, "mode": "gateway", "config": GATEWAY}, version))
        (envoy,) = pod["containers"]
        assert ("distroless" in envoy["image"]) is distroless
        assert ("sleep" in envoy["lifecycle"]["preStop"]) is distroless


def containers(pod: Manifest) -> list[Any]:
    return [*pod["initContainers"], *pod["containers"]]


def no_container_is_root_and_only_the_right_ones_see_secrets_and_sockets(pod: Manifest) -> None:
    assert pod["automountServiceAccountToken"] is False
    for container in containers(pod):
        security = container["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 65532)
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert "cpu" not in container["resources"]["limits"]
    mounts = {
        each["name"]: {mount["name"] for mount in each["volumeMounts"]} for each in containers(pod)
    }
    only_in = {
        "zervi-secrets": "zervi-sidecar",
        "zervi-admin": "zervi-sidecar",
        "envoy-run": "envoy",
        "envoy-tls": "envoy",
        "envoy-targets": "envoy",
    }
    for volume, owner in only_in.items():
        assert {name for name, seen in mounts.items() if volume in seen} <= {owner}
    named = {each["name"] for each in pod["volumes"]}
    assert set().union(*mounts.values()) == named


def test_pods_start_again_for_a_new_configuration_and_not_for_new_routes(helm: str) -> None:
    """The sidecar reloads the table, of which Envoy's configuration knows nothing."""
    gateway = {**BASE, "mode": "gateway", "config": GATEWAY}
    changed = GATEWAY.replace("https://app.example", "https://other.example")

    def annotations(values: Manifest) -> Manifest:
        found: Manifest = one(rendered(helm, values), "Deployment")["spec"]["template"]["metadata"]
        return found

    before = annotations(gateway)
    assert annotations({**gateway, "routes": ROUTES.replace("api/", "v2/")}) == before
    assert annotations({**gateway, "config": changed}) != before


def test_an_own_bootstrap_is_examined_before_envoy_starts(
    helm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = rendered(helm, {**BASE, "mode": "gateway", "config": GATEWAY})
    run(pod_of(first), first, tmp_path / "first")
    bootstrap = (tmp_path / "first/etc/envoy-config/envoy.yaml").read_text()
    for text, code in (
        (bootstrap, 0),
        (bootstrap.replace("failure_mode_allow: false", "failure_mode_allow: true"), 1),
    ):
        values = {**BASE, "mode": "gateway", "config": GATEWAY, "envoy": {"bootstrap": text}}
        manifests = rendered(helm, values)
        init = pod_of(manifests)["initContainers"][0]
        assert init["args"][0] == "doctor"
        (volume,) = [
            each for each in pod_of(manifests)["volumes"] if each["name"] == "envoy-config"
        ]
        given = one(manifests, "ConfigMap", volume["configMap"]["name"])["data"]["envoy.yaml"]
        (tmp_path / "first/etc/envoy-config/envoy.yaml").write_text(given)
        arguments = [each.replace("/etc/", f"{tmp_path}/first/etc/") for each in init["args"]]
        assert main(arguments) == code


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
def test_the_test_pod_runs_a_command_that_exists(
    helm: str, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {**BASE, "mode": mode, "config": CONFIG if mode == "sidecar" else GATEWAY}
    manifests = rendered(helm, values)
    pod = one(manifests, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    if mode == "gateway":
        compile(container["args"][0], "test pod", "exec")
        service = one(manifests, "Service")
        assert container["args"][2:] == [
            service["metadata"]["name"],
            str(service["spec"]["ports"][0]["port"]),
        ]
        assert pod["metadata"]["labels"].items() & service["spec"]["selector"].items() != (
            service["spec"]["selector"].items()
        )  # a client, which the Service does not choose
        return
    for name, text in one(manifests, "ConfigMap")["data"].items():
        (tmp_path / name).write_text(text)
    assert main([each.replace("/etc/zervi/", f"{tmp_path}/") for each in container["args"]]) == 0

"""What the chart does with values that are wrong, odd or at a limit."""

import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.charts import CHART, ChartError, Manifest, one, printed, template
from tests.deploy.programs import need
from tests.deploy.test_chart import BASE, CONFIG, GATEWAY, pod_of

EDGE: Manifest = {**BASE, "mode": "gateway", "config": GATEWAY}
AT = ("--kube-version", "1.37.0")
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"  # RFC 1123
LABEL_VALUE = r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?"


@pytest.fixture(scope="module")
def helm() -> str:
    return need("helm")


def rendered(helm: str, values: Manifest) -> list[Manifest]:
    return template(helm, CHART, values, *AT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": ""}, "--set-file config=sidecar.yaml"),
        ({"config": "policy: {file: routes.yaml}"}, "--set-file config=sidecar.yaml"),
        ({"config": "zervi: ["}, "config is not YAML"),
        ({"config": CONFIG + "listen: {}\n"}, "leave out `listen`"),
        ({"config": CONFIG.replace("routes.yaml", "other.yaml")}, "`policy.file` is routes.yaml"),
        ({"routes": ""}, "--set-file routes=routes.yaml"),
        ({"mode": "gateway"}, "gateway.envoy_dir"),
        ({"config": GATEWAY}, "needs the mode `gateway`"),
        ({"workloadLabels": {}}, "workloadLabels"),
        ({"mode": "Gateway"}, "mode"),
        ({"socket": "udp"}, "socket"),
        ({"upstream": "0.0.0.0:8601"}, "upstream"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"replica": 3}, "replica"),
        ({"envoy": {"tls": "x"}}, "tls"),
        ({"leaveSeconds": 0}, "leaveSeconds"),
        ({"autoscaling": {"maxReplicas": "10"}}, "maxReplicas"),
        ({"config": CONFIG + "...\n"}, "one YAML document"),
        ({"config": CONFIG + "---\nzervi: {}\n"}, "one YAML document"),
        ({"config": "zervi: x\n"}, "`zervi` must be a mapping"),
        ({"config": "- zervi\n"}, "config is not YAML"),
        ({"config": "zervi: {}\n\tpolicy: {}\n"}, "config is not YAML"),
        ({"config": f"{CONFIG}looma: {{service: {{port: '${{PORT}}'}}}}\n"}, "must be a number"),
        ({"config": f"{CONFIG}looma: {{service: {{port: 9901}}}}\n"}, "9901, which"),
        ({"routes": "api_gateway: ["}, "routes is not YAML"),
        ({"podMonitor": None}, "podMonitor"),
        ({"envoy": {"image": None}}, "image"),
        ({"leaveSeconds": None}, "leaveSeconds"),
        ({"image": {"tag": "1 --privileged"}}, "tag"),
        ({"image": {"repository": "zervi\n  command: [sh]"}}, "repository"),
        ({"existingSecret": "x}, hostPath: {path: /"}, "existingSecret"),
        ({"networkPolicy": {"monitoringNamespace": "a: b"}}, "monitoringNamespace"),
        ({"workloadLabels": {"app": "a b"}}, "workloadLabels"),
        ({"fullnameOverride": "Guard"}, "fullnameOverride"),
        ({"fullnameOverride": "1st"}, "fullnameOverride"),
        ({"fullnameOverride": "a" * 64}, "fullnameOverride"),
        ({"podDisruptionBudget": {"maxUnavailable": "101%"}}, "maxUnavailable"),
        ({"podDisruptionBudget": {"maxUnavailable": -1}}, "maxUnavailable"),
        ({"env": [{"name": "POD_IP", "value": "127.0.0.1"}]}, "env"),
        ({"extraVolumes": [{"name": "zervi-run", "emptyDir": {}}]}, "extraVolumes"),
        ({"extraVolumeMounts": [{"name": "ca", "mountPath": "/run/zervi"}]}, "mountPath"),
        ({"podAnnotations": {"checksum/zervi-sidecar": "x"}}, "checksum/zervi-sidecar"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_value_is_refused_and_named(helm: str, change: Manifest, said: str) -> None:
    with pytest.raises(ChartError) as refused:
        rendered(helm, {**BASE, **change})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "the chart's own"),
        ({"autoscaling": {"enabled": True, "minReplicas": 11}}, "minReplicas"),
        ({"leaveSeconds": 45}, "60 seconds"),
        ({"config": f"{GATEWAY}drain: 2m\n"}, "130 seconds"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_gateway_contradicts_is_refused_and_named(
    helm: str, change: Manifest, said: str
) -> None:
    with pytest.raises(ChartError) as refused:
        rendered(helm, {**EDGE, **change})
    assert said in str(refused.value)


def labels_in(value: Any) -> list[Any]:
    """Return each value below a key `labels` or `matchLabels`."""
    if isinstance(value, list):
        return [found for each in value for found in labels_in(each)]
    if not isinstance(value, dict):
        return []
    own = [
        text
        for key in ("labels", "matchLabels")
        if isinstance(value.get(key), dict)
        for text in value[key].values()
    ]
    return [*own, *(found for each in value.values() for found in labels_in(each))]


@pytest.mark.parametrize(
    ("release", "names"),
    [
        ("123", {}),
        ("a.b-c.d", {}),
        ("r" * 53, {}),
        ("r" * 53, {"fullnameOverride": "n" * 63}),
        ("a", {"fullnameOverride": "true"}),
        ("a", {"nameOverride": "n" * 63}),
        ("r" * 53, {"nameOverride": "n" * 57 + "-" + "n" * 5}),
        ("1e5", {"nameOverride": "e"}),
    ],
    ids=str,
)
def test_names_and_labels_are_valid_whatever_the_release_is_called(
    helm: str, release: str, names: Manifest
) -> None:
    values = {**EDGE, **names, "dashboards": {"enabled": True}}
    text = printed(helm, release, CHART, yaml.safe_dump(values), *AT)
    manifests = [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        suffixed = manifest["kind"] == "ConfigMap" and name.endswith("-dashboards")
        assert re.fullmatch(DNS_LABEL, name.removesuffix("-dashboards") if suffixed else name)
        for label in labels_in(manifest):
            assert isinstance(label, str)
            assert re.fullmatch(LABEL_VALUE, label)
    deployment = one(manifests, "Deployment")
    chosen = deployment["spec"]["selector"]["matchLabels"].items()
    assert chosen <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert chosen == one(manifests, "Service")["spec"]["selector"].items()
    assert not chosen <= one(manifests, "Pod")["metadata"]["labels"].items()


@pytest.mark.parametrize(
    "config",
    [
        "---\n" + CONFIG,
        CONFIG.replace("\n", "\r\n"),
        "".join(f"  {line}\n" for line in CONFIG.splitlines()),
        "\n\n   # a comment that is indented\n" + CONFIG,
        str(yaml.safe_load(CONFIG)).replace("'", '"'),
        CONFIG.rstrip("\n"),
        CONFIG + "text: |\n  of several\n\n  lines\n",
    ],
    ids=["start", "crlf", "indented", "comment", "json", "no newline", "block"],
)
def test_a_configuration_in_any_style_of_yaml_gets_its_addresses(helm: str, config: str) -> None:
    data = one(rendered(helm, {**BASE, "config": config}), "ConfigMap")["data"]
    found = yaml.safe_load(data["sidecar.yaml"])
    assert found.pop("listen")["authz"] == "unix:/run/zervi/authz.sock"
    assert found == yaml.safe_load(config)


def test_a_table_that_begins_with_spaces_stays_as_it_is(helm: str) -> None:
    table = "  # of the team\napi_gateway:\n  routes: []\n"
    assert (
        one(rendered(helm, {**BASE, "routes": table}), "ConfigMap")["data"]["routes.yaml"] == table
    )


def test_a_gateway_may_have_no_pods(helm: str) -> None:
    assert one(rendered(helm, {**EDGE, "replicas": 0}), "Deployment")["spec"]["replicas"] == 0


def test_an_autoscaler_takes_further_metrics(helm: str) -> None:
    metric = {
        "type": "Pods",
        "pods": {
            "metric": {"name": "envoy_http_downstream_rq_active"},
            "target": {"type": "AverageValue", "averageValue": "100"},
        },
    }
    manifests = rendered(helm, {**EDGE, "autoscaling": {"enabled": True, "metrics": [metric]}})
    scaler = one(manifests, "HorizontalPodAutoscaler")
    kubernetes_validate.validate(scaler, "1.37", strict=True)
    assert scaler["spec"]["metrics"][1:] == [metric]
    assert "replicas" not in one(manifests, "Deployment")["spec"]


def test_only_the_sidecar_sees_an_extra_volume(helm: str) -> None:
    values: Manifest = {
        "extraVolumes": [{"name": "ca", "configMap": {"name": "company-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/company-ca", "readOnly": True}],
    }
    manifests = rendered(helm, {**EDGE, **values})
    kubernetes_validate.validate(one(manifests, "Deployment"), "1.37", strict=True)
    pod = pod_of(manifests)
    assert values["extraVolumes"][0] in pod["volumes"]
    seeing = [
        each["name"]
        for each in (*pod["initContainers"], *pod["containers"])
        if "ca" in [mount["name"] for mount in each["volumeMounts"]]
    ]
    assert seeing == ["zervi-sidecar"]


def test_the_test_pod_may_connect_where_only_some_may(helm: str) -> None:
    edge = {"podSelector": {"matchLabels": {"app": "edge"}}}
    manifests = rendered(helm, {**EDGE, "networkPolicy": {"from": [edge]}})
    first, second = one(manifests, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert first == edge
    labels = one(manifests, "Pod")["metadata"]["labels"]
    assert second["podSelector"]["matchLabels"].items() <= labels.items()


def test_a_chart_that_depends_on_this_one_may_have_a_condition(helm: str) -> None:
    assert rendered(helm, {**BASE, "enabled": True, "global": {"registry": "x"}})


@pytest.mark.parametrize(
    ("values", "wanted", "unwanted"),
    [
        (BASE, "helm test guard -n shop", "WARNING"),
        (EDGE, "kubectl rollout status deployment/guard-zervi-sidecar -n shop", "SAFETY"),
        ({**BASE, "socket": "tcp"}, "WARNING: socket is tcp", "rollout"),
        ({**BASE, "existingSecret": "zervi"}, "must listen on 127.0.0.1 only", "existingSecret is"),
    ],
    ids=["sidecar", "gateway", "tcp", "secret"],
)
def test_the_notes_say_what_comes_next(
    helm: str, values: Manifest, wanted: str, unwanted: str, tmp_path: Path
) -> None:
    """`helm template` does not print them, so a manifest includes them here."""
    copy = tmp_path / CHART.name
    shutil.copytree(CHART, copy)
    notes = '{{ include (print .Template.BasePath "/NOTES.txt") . | indent 2 }}'
    (copy / "templates" / "notes.yaml").write_text(f"kind: Notes\ntext: |2\n{notes}\n")
    (found,) = [each for each in template(helm, copy, values, *AT) if each["kind"] == "Notes"]
    assert wanted in found["text"]
    assert unwanted not in found["text"]

"""The files for meshes fit each other, the sidecar, and the fields that the meshes publish."""

import re
from pathlib import Path
from typing import Any

import yaml

from demo.envoy import connection_manager
from sidecar.config import load
from sidecar.documents import own_yaml
from tests.deploy.charts import Manifest, one
from tests.deploy.programs import ROOT
from tests.deploy.schemas import module

DEPLOY = ROOT / "deploy"


def read(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def providers() -> dict[str, Any]:
    (found,) = read("istio/mesh-config.yaml")
    return {
        each["name"]: each["envoyExtAuthzGrpc"]
        for each in found["spec"]["meshConfig"]["extensionProviders"]
    }


def test_istio_knows_every_field_of_the_providers() -> None:
    text = (module("istio") / "mesh/v1alpha1/config.proto").read_text()
    message = text.partition("message EnvoyExternalAuthorizationGrpcProvider {")[2]
    names = re.findall(
        r"^\s+(?!//)[\w.]+ (\w+) = \d+", message.partition("\n    }")[0], re.MULTILINE
    )
    known = {re.sub(r"_(\w)", lambda m: m[1].upper(), name) for name in names}
    assert {"timeout", "failOpen", "statusOnError"} <= known
    for provider in providers().values():
        assert set(provider) <= known


def test_no_mesh_fails_open_or_waits_for_long() -> None:
    for provider in providers().values():
        assert (provider["failOpen"], provider["timeout"]) == (False, "3s")
        assert provider["statusOnError"] == "503"
    ext = one(read("envoy-gateway/policy.yaml"), "SecurityPolicy")["spec"]["extAuth"]
    assert (ext["failOpen"], ext["timeout"], ext["statusOnError"]) == (False, "3s", 503)


def test_envoy_gateways_patches_are_the_settings_of_envoy_yaml() -> None:
    loaded = own_yaml.read(ROOT / "envoy" / "envoy.yaml")
    manager = connection_manager(loaded)
    filters = {each["name"]: each["typed_config"] for each in manager["http_filters"]}
    patches = one(read("envoy-gateway/patches.yaml"), "EnvoyPatchPolicy")["spec"]["jsonPatches"]
    operations = [each["operation"] for each in patches]
    *settings, lock, removed = [each["value"] for each in operations]
    names = [each["path"] for each in operations[:-2]]
    wanted = filters["envoy.filters.http.ext_authz"]
    assert settings == [wanted[name] for name in names]
    assert names == ["encode_raw_headers", "validate_mutations", "decoder_header_mutation_rules"]
    assert lock["typed_config"] == filters["envoy.filters.http.rbac"]
    assert removed == manager["route_config"]["request_headers_to_remove"]


def test_istios_policies_name_a_provider_and_leave_no_path_out() -> None:
    for name in ("istio/sidecar.yaml", "istio/waypoint.yaml"):
        policies = [
            each["spec"] for each in read(name) if each.get("spec", {}).get("action") == "CUSTOM"
        ]
        assert policies
        for policy in policies:
            assert policy["provider"]["name"] in providers()
            assert policy["rules"] == [{}]


def test_the_provider_is_the_service_entry_of_the_pods_own_loopback() -> None:
    entry = one(read("istio/sidecar.yaml"), "ServiceEntry")["spec"]
    provider = providers()["zervi-sidecar"]
    assert entry["hosts"] == [provider["service"]]
    (port,) = entry["ports"]
    (endpoint,) = entry["endpoints"]
    assert endpoint == {"address": "127.0.0.1", "ports": {port["name"]: provider["port"]}}


def test_the_sidecar_takes_each_configuration_and_listens_where_the_mesh_asks(
    tmp_path: Path,
) -> None:
    wanted = {
        "istio/deployment.yaml": "127.0.0.1:9001",
        "istio/waypoint.yaml": "0.0.0.0:9001",
        "envoy-gateway/envoyproxy.yaml": "unix:/run/zervi/authz.sock",
    }
    for name, address in wanted.items():
        for file, text in one(read(name), "ConfigMap")["data"].items():
            (tmp_path / file).write_text(text)
        config = load(tmp_path / "sidecar.yaml", {}, offline=True)
        assert config.settings.listen.authz == address
    (endpoint,) = one(read("envoy-gateway/policy.yaml"), "Backend")["spec"]["endpoints"]
    assert f"unix:{endpoint['unix']['path']}" == address

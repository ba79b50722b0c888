"""The schemas of others' resources, out of their Go modules, as kubeconform reads them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.programs import MODULES

KINDS = {
    "AuthorizationPolicy", "DestinationRule", "PeerAuthentication", "ServiceEntry", "Sidecar",
    "Gateway", "GatewayClass", "HTTPRoute",
    "Backend", "ClientTrafficPolicy", "EnvoyPatchPolicy", "EnvoyProxy", "SecurityPolicy",
    "PodMonitor", "PrometheusRule",
}  # fmt: skip
_WHERE = {
    "istio": "kubernetes/customresourcedefinitions.gen.yaml",
    "envoy-gateway": "charts/gateway-helm/charts/crds/crds/**/*.yaml",
    "prometheus-operator": "example/prometheus-operator-crd/*.yaml",
}
_LOCATION = "{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"


class _Loader(yaml.CSafeLoader):
    """Reads `=` as text, which YAML 1.1 gives a meaning that nothing uses."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def write(directory: Path) -> list[str]:
    """Write the schemas; return kubeconform's arguments. Skips the test where there is no Go."""
    for name in MODULES:
        for definition in _definitions(module(name), _WHERE[name]):
            _write(definition, directory)
    return ["-strict", "-schema-location", str(directory / _LOCATION)]


def module(name: str) -> Path:
    """Return the directory of a module's sources. Skips the test where there is no Go."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed: it downloads the modules with the schemas")
    done = subprocess.run(
        [go, "mod", "download", "-json", MODULES[name]],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(json.loads(done.stdout)["Dir"])


def _definitions(source: Path, pattern: str) -> Iterator[dict[str, Any]]:
    """Yield the definitions of KINDS; the others are 8 MB of YAML that nothing here needs."""
    for path in sorted(source.glob(pattern)):
        for text in re.split("^---$", path.read_text(), flags=re.MULTILINE):
            if KINDS.intersection(re.findall(r"^    kind: (\w+)$", text, re.MULTILINE)):
                yield yaml.load(text, Loader=_Loader)


def _write(definition: dict[str, Any], directory: Path) -> None:
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        text = {"type": "string"}  # the members that every resource has
        schema["properties"] |= {"apiVersion": text, "kind": text, "metadata": {"type": "object"}}
        name = f"{spec['names']['kind'].lower()}_{version['name']}.json"
        (directory / spec["group"]).mkdir(parents=True, exist_ok=True)
        (directory / spec["group"] / name).write_text(json.dumps(schema))


def _strict(schema: Any) -> Any:
    """Return the schema without further properties, as the API server prunes them."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _strict(value) for name, value in schema.items()}
    if found.pop("x-kubernetes-int-or-string", False):
        found.pop("anyOf", None)
        found["type"] = ["integer", "string"]
    kept = found.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(found.get("properties"), dict) and not kept and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found

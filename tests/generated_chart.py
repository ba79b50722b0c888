"""Says whether ``deploy/`` is what its sources give (part of ``make check``).

``--write`` (``make envoy``) writes the files. values.schema.json is the source of the chart's
values and README. The chart has copies of the alerts and dashboards, since a package cannot refer
to files outside. The names of headers in Envoy Gateway's patches are those of envoy/envoy.yaml.
The kustomize component is rendered from the chart; without helm it is not compared.
"""

import json
import re
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import yaml

from demo.envoy import connection_manager, ext_authz_filter
from sidecar.documents import own_yaml
from tests.deploy.charts import example, one, template
from tests.deploy.programs import find

ROOT = Path(__file__).resolve().parent.parent
CHART = "deploy/helm/zervi-sidecar"
PATCHES = "deploy/envoy-gateway/patches.yaml"
COMPONENT = "deploy/kustomize/zervi-sidecar/patch.yaml"

Schema = dict[str, Any]


def plain() -> dict[str, str]:
    """Return the content of each file that needs no program, by its path."""
    schema: Schema = json.loads((ROOT / CHART / "values.schema.json").read_text())
    texts = {
        f"{CHART}/values.yaml": values(schema),
        f"{CHART}/README.md": readme(schema),
        PATCHES: patches((ROOT / PATCHES).read_text()),
    }
    for copied in ("prometheus/rules.yaml", "grafana/node.json", "grafana/fleet.json"):
        source = ROOT / "deploy" / copied
        texts[f"{CHART}/files/{source.name}"] = source.read_text()
    return texts


def from_helm() -> dict[str, str]:
    """Return what helm renders; the other files must be written before."""
    helm = find("helm")
    return {} if helm is None else {COMPONENT: component(helm)}


def patches(text: str) -> str:
    """Return Envoy Gateway's patches with the header names of envoy/envoy.yaml."""
    loaded = own_yaml.read(ROOT / "envoy" / "envoy.yaml")
    expression = ext_authz_filter(loaded)["decoder_header_mutation_rules"]["allow_expression"]
    names = connection_manager(loaded)["route_config"]["request_headers_to_remove"]
    lines = textwrap.wrap(", ".join(names) + ",", 104, break_on_hyphens=False)
    text = re.sub(
        r'(?<= regex: ").*(?="$)', lambda _: expression["regex"], text, flags=re.MULTILINE
    )
    before, bracket, _ = text.partition("          [\n")
    return before + bracket + textwrap.indent("\n".join(lines), " " * 12) + "\n          ]\n"


def values(schema: Schema, indent: str = "") -> str:
    """Return values.yaml: each default below what its value is for."""
    lines = []
    for name, entry in schema["properties"].items():
        if not {"default", "properties"} & entry.keys():
            continue  # Helm's own
        lines += textwrap.wrap(
            entry["description"], 118, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        if "properties" in entry:
            lines += [f"{indent}{name}:", values(entry, f"{indent}  ").rstrip("\n")]
        else:
            lines.append(f"{indent}{name}: {json.dumps(entry['default'])}")
    return "\n".join(lines) + "\n"


def readme(schema: Schema) -> str:
    """Return the chart's README."""
    head = (ROOT / CHART / "README.head.md").read_text()
    return head + "\n".join(("| value | default | |", "|---|---|---|", *_rows(schema))) + "\n"


def _rows(schema: Schema, prefix: str = "") -> list[str]:
    rows = []
    for name, entry in schema["properties"].items():
        if not {"default", "properties"} & entry.keys():
            continue  # Helm's own
        if "properties" in entry:
            rows += _rows(entry, f"{prefix}{name}.")
        else:
            meaning = entry["description"]
            if "enum" in entry:
                meaning += f" ({', '.join(f'`{each}`' for each in entry['enum'])})"
            rows.append(f"| `{prefix}{name}` | `{json.dumps(entry['default'])}` | {meaning} |")
    return rows


def component(helm: str) -> str:
    """Return the patch that adds Envoy and the sidecar to a Deployment, from the example chart."""
    named = {"zervi-sidecar": {"fullnameOverride": "zervi-sidecar"}}
    with tempfile.TemporaryDirectory() as directory:
        manifests = template(helm, example(Path(directory)), named, "--kube-version", "1.30.0")
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    kept = ("initContainers", "volumes", "terminationGracePeriodSeconds", "enableServiceLinks")
    security = {"fsGroup": pod["securityContext"]["fsGroup"]}
    spec = {"securityContext": security, **{name: pod[name] for name in kept}}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "any"},
        "spec": {"template": {"spec": spec}},
    }
    head = (
        "# Rendered from the chart by `make envoy`: adds Envoy and the sidecar to a Deployment.\n"
    )
    return head + yaml.safe_dump(patch, sort_keys=False, width=118)


def main(arguments: list[str]) -> int:
    """Compare or write; 1 where files differ."""
    write = arguments == ["--write"]
    differ = [_settle(part(), write=write) for part in (plain, from_helm)]
    return 1 if any(differ) and not write else 0


def _settle(texts: dict[str, str], *, write: bool) -> bool:
    differing = {
        name: text
        for name, text in texts.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text() != text
    }
    for name, text in differing.items():
        if write:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(text)
        else:
            print(f"{name} is not what its source gives: run `make envoy`", file=sys.stderr)
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What helm makes of the charts, for tests and for the kustomize component."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.programs import ROOT

CHART = ROOT / "deploy/helm/zervi-sidecar"
EXAMPLE = ROOT / "deploy/helm/examples/basic-server"

Manifest = dict[str, Any]


class ChartError(Exception):
    """Helm refuses; its words."""


def template(
    helm: str, chart: Path, values: Manifest | None = None, *arguments: str
) -> list[Manifest]:
    """Return the manifests; the release is named `guard`."""
    command = [helm, "template", "guard", str(chart), "--namespace", "shop", "-f", "-", *arguments]
    given = yaml.safe_dump(values or {})
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(done.stderr)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def example(directory: Path) -> Path:
    """Return a copy of the example with the chart in it, as `helm dependency build` does."""
    copy = directory / EXAMPLE.name
    shutil.copytree(EXAMPLE, copy)
    shutil.copytree(CHART, copy / "charts" / CHART.name)
    return copy


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the only manifest of a kind (and name)."""
    (found,) = [
        each
        for each in manifests
        if each["kind"] == kind and name in (None, each["metadata"]["name"])
    ]
    return found

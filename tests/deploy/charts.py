"""What helm makes of the charts, for tests and for the kustomize component."""

import shutil
import subprocess
from functools import cache
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
    text = printed(helm, "guard", chart, yaml.safe_dump(values or {}), *arguments)
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


@cache
def printed(helm: str, release: str, chart: Path, values: str, *arguments: str) -> str:
    """Return what helm prints, by which it is run once for the same values."""
    command = [helm, "template", release, str(chart), "--namespace", "shop", "-f", "-", *arguments]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(done.stderr)
    return done.stdout


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

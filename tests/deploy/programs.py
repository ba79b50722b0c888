"""Programs beyond Python that judge ``deploy/``: where they are, and how they are built.

``python -m tests.deploy.programs`` builds those written in Go into ``.tools/bin``, which git
ignores. Versions are fixed, and Go's checksum database vouches for the sources.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".tools" / "bin"

PACKAGES: Final = {
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.2",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.9",
}

ASKED_FOR: Final = {
    "egctl": "github.com/envoyproxy/gateway/cmd/egctl@v1.9.1",
    "otelcol": "go.opentelemetry.io/collector/cmd/builder@v0.165.0",
}
"""Programs that take long to build: only where their names are arguments."""

COLLECTOR: Final = {
    "receivers": ["go.opentelemetry.io/collector/receiver/otlpreceiver v0.165.0"],
    "exporters": ["go.opentelemetry.io/collector/exporter/debugexporter v0.165.0"],
    "providers": ["go.opentelemetry.io/collector/confmap/provider/fileprovider v1.71.0"],
}
"""What the OpenTelemetry Collector is built of, by its own builder."""

REQUIRED: Final = "ZERVI_TESTS_NEED_PROGRAMS"
"""The variable with which `.ci/run` makes a missing program a failure, not a skipped test."""


MODULES: Final = {
    "istio": "istio.io/api@v1.32.0",
    "envoy-gateway": "github.com/envoyproxy/gateway@v1.9.1",
    "prometheus-operator": "github.com/prometheus-operator/prometheus-operator@v0.85.0",
}
"""Modules whose files are read: they publish the schemas of their resources."""


def find(name: str) -> str | None:
    """Return the path of a program; None where this machine lacks it."""
    built = BIN / name
    return str(built) if built.exists() else shutil.which(name)


def need(name: str) -> str:
    """Return the path of a program; skip the test where this machine lacks it."""
    path = find(name)
    if path is not None:
        return path
    why = f"{name} is not installed"
    if name in PACKAGES or name in ASKED_FOR:
        more = f" {name}" if name in ASKED_FOR else ""
        why += f"; where Go is, `python -m tests.deploy.programs{more}` builds it"
    if name in os.environ.get(REQUIRED, "").split():
        pytest.fail(why)
    pytest.skip(why)


def main(names: list[str]) -> int:
    """Build what is missing, and the named ones beside it; return 1 where that fails."""
    go = shutil.which("go")
    if go is None:
        print("Go is not installed", file=sys.stderr)
        return 1
    environment = {**os.environ, "GOBIN": str(BIN), "GOFLAGS": "-trimpath"}
    failed = 0
    for name, package in {**PACKAGES, **{each: ASKED_FOR[each] for each in names}}.items():
        stamp = BIN / f".{name}"
        if stamp.exists() and stamp.read_text() == package and (BIN / name).exists():
            continue
        build = _collector if name == "otelcol" else _install
        if build(go, package, environment):
            stamp.write_text(package)
        else:
            failed = 1
    return failed


def _install(go: str, package: str, environment: Mapping[str, str]) -> bool:
    return subprocess.run([go, "install", package], env=environment, check=False).returncode == 0


def _collector(go: str, builder: str, environment: Mapping[str, str]) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        manifest = Path(directory, "manifest.yaml")
        modules = {kind: [{"gomod": each} for each in found] for kind, found in COLLECTOR.items()}
        dist = {"name": "otelcol", "module": "example.invalid/otelcol", "output_path": directory}
        resolver = {"default_uri_scheme": "file"}
        manifest.write_text(json.dumps({"dist": dist, "conf_resolver": resolver, **modules}))
        command = [go, "run", builder, "--config", str(manifest)]
        if subprocess.run(command, env=environment, check=False).returncode:
            return False
        BIN.mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path(directory, "otelcol"), BIN / "otelcol")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

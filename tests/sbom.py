"""Prints the CycloneDX list of what a release holds (``make release``), from requirements.lock.

Format: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/. The image adds Python and Debian, which
its builder lists (`sbom: true`).
"""

import json
import re
import sys
from typing import Any

from tests.release import ROOT, project_version

_ENTRY = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==([^ ;\\]+)", re.MULTILINE)


def bill_of_materials(lock: str, version: str) -> dict[str, Any]:
    """Return the document for the packages of a lock file."""
    own = _component("zervi-sidecar", version, kind="application")
    parts = [_component(*found) for found in _ENTRY.findall(lock)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": parts,
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": [p["bom-ref"] for p in parts]}],
    }


def _component(name: str, version: str, kind: str = "library") -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    found = bill_of_materials((ROOT / "requirements.lock").read_text(), project_version())
    json.dump(found, sys.stdout, indent=1)

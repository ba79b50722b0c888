"""What `make release` refuses to build."""

import pytest

import sidecar
from tests.release import (
    ROOT,
    disagreements,
    elsewhere,
    naming_files,
    project_version,
    stale,
)
from tests.sbom import bill_of_materials

CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-12-01\n\n- A line.\n"


def test_a_version_that_changelog_and_tag_name_is_released() -> None:
    assert list(disagreements("0.2.0", CHANGELOG, ["v0.2.0"])) == []
    without_unreleased = CHANGELOG.replace("## Unreleased\n\n", "")
    assert list(disagreements("0.2.0", without_unreleased, ["v0.2.0", "latest"])) == []


@pytest.mark.parametrize(
    ("version", "changelog", "tags", "message"),
    [
        ("0.2.1", CHANGELOG, ["v0.2.1"], "begins with 0.2.0"),
        ("0.2.0", CHANGELOG, [], "needs the tag v0.2.0; it has no tag"),
        ("0.2.0", CHANGELOG, ["v0.1.0"], "needs the tag v0.2.0; it has v0.1.0"),
        ("0.2.0", CHANGELOG.replace(" - 2026-12-01", ""), ["v0.2.0"], "needs a heading"),
        ("0.2.0", "# Changelog\n", ["v0.2.0"], "needs a heading"),
        ("0.2.0", CHANGELOG.replace("\n\n## 0", "\n- New.\n\n## 0"), ["v0.2.0"], "Unreleased"),
    ],
)
def test_what_disagrees_is_named(
    version: str, changelog: str, tags: list[str], message: str
) -> None:
    (found,) = disagreements(version, changelog, tags)
    assert message in found


def test_the_program_prints_the_version_of_its_package() -> None:
    assert sidecar.__version__ == project_version()


def test_a_tree_beyond_a_release_has_another_version() -> None:
    """Otherwise an operator cannot see which of the two runs."""
    beyond = CHANGELOG.replace("\n\n## 0", "\n- New.\n\n## 0")
    (found,) = stale("0.2.0", beyond)
    assert "0.2.0 is released" in found
    assert list(stale("0.3.0.dev0", beyond)) == []
    assert list(stale("0.2.0", CHANGELOG)) == []


def test_this_tree_has_a_version_of_its_own() -> None:
    assert list(stale(project_version(), (ROOT / "CHANGELOG.md").read_text())) == []


def test_every_file_that_names_the_version_names_this_one() -> None:
    texts = naming_files()
    assert list(elsewhere(project_version(), texts)) == []
    other = [each.partition(":")[0] for each in elsewhere("9.9.9", texts)]
    assert {
        "sidecar/__init__.py",
        "Dockerfile",
        "README.md",
        "envoy/kubernetes.yaml",
        "deploy/helm/zervi-sidecar/Chart.yaml",
        "deploy/helm/examples/basic-server/Chart.yaml",
        "deploy/kustomize/example/kustomization.yaml",
        "deploy/istio/deployment.yaml",
        "deploy/envoy-gateway/envoyproxy.yaml",
    } <= set(other)
    chart = other.count("deploy/helm/zervi-sidecar/Chart.yaml")
    assert chart == 2  # version and appVersion


def test_the_bill_of_materials_lists_every_locked_package_once() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    bill = bill_of_materials(lock, "1.2.3")
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/zervi-sidecar@1.2.3"
    names = [each["name"] for each in bill["components"]]
    assert len(names) == len(set(names)) == lock.count("==") - lock.count("'==") - lock.count(" ==")
    assert {"cryptography", "h11", "uvloop"} <= set(names)
    for each in bill["components"]:
        assert f"{each['name']}" in lock
        assert f"=={each['version']}" in lock

"""What `make release` refuses to build."""

import tomllib

import pytest

import sidecar
from tests.release import ROOT, disagreements

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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sidecar.__version__ == project["version"]

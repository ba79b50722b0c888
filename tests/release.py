"""What must agree before a release is built (``make release``): version, changelog, tag."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_RELEASE = re.compile(r"(\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}")


def stale(version: str, changelog: str) -> Iterator[str]:
    """Yield why a version must not be built from a tree: it is released, and the tree is not it."""
    first, *rest = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:] or [""]
    if first.partition("\n")[0] != "Unreleased" or not first.partition("\n")[2].strip():
        return
    if any(section.startswith(f"{version} - ") for section in rest[:1]):
        yield (
            f"CHANGELOG.md has lines under Unreleased, and {version} is released: set version to"
            " that of the next release with .dev0"
        )


def disagreements(version: str, changelog: str, tags: Collection[str]) -> Iterator[str]:
    """Yield what keeps a version from being released; ``tags`` are those of the commit."""
    headings = list(_HEADING.finditer(changelog))
    names = [heading[1] for heading in headings]
    if names[:1] == ["Unreleased"]:
        end = headings[1].start() if len(headings) > 1 else len(changelog)
        if changelog[headings[0].end() : end].strip():
            yield "CHANGELOG.md has lines under Unreleased: move them below the new version"
        names = names[1:]
    latest = _RELEASE.fullmatch(names[0]) if names else None
    if latest is None:
        yield f"CHANGELOG.md needs a heading `## {version} - YYYY-MM-DD` first"
    elif latest[1] != version:
        yield f"CHANGELOG.md begins with {latest[1]}, but pyproject.toml has version {version}"
    if f"v{version}" not in tags:
        yield f"the commit needs the tag v{version}; it has {', '.join(sorted(tags)) or 'no tag'}"


def project_version() -> str:
    """Return the version of this tree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def main() -> int:
    """Print what disagrees; 1 where anything does."""
    version = project_version()
    tags = subprocess.run(
        ["git", "-C", str(ROOT), "tag", "--points-at", "HEAD"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    found = list(disagreements(version, (ROOT / "CHANGELOG.md").read_text(), tags))
    for each in found:
        print(f"release: {each}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

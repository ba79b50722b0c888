"""What must agree before a release is built (``make release``): version, changelog, tag."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_VERSION = r"(\d+\.\d+\.\d+(?:[.-]dev\d+)?)"
_NAMED = re.compile(
    rf'(?:\bzervi-sidecar:|^__version__ = "|^(?:    )?version: |^appVersion: |\bnewTag: ){_VERSION}'
)
_NAMING = (
    "sidecar/__init__.py",
    "Dockerfile",
    "README.md",
    "envoy/**/*.yaml",
    "deploy/**/*.yaml",
)
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


def elsewhere(version: str, texts: Mapping[str, str]) -> Iterator[str]:
    """Yield each line of the files, by their path, that names another version of this project.

    A chart's version is SemVer, where ``0.3.0.dev0`` is ``0.3.0-dev0``.
    """
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            named = _NAMED.search(line)
            if named is not None and named[1].replace("-dev", ".dev") != version:
                yield f"{path}:{number} names the version {named[1]}, not {version}"


def naming_files() -> dict[str, str]:
    """Return the texts that name this project's version, by their path."""
    paths = [path for pattern in _NAMING for path in sorted(ROOT.glob(pattern)) if path.is_file()]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


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
    found = [
        *disagreements(version, (ROOT / "CHANGELOG.md").read_text(), tags),
        *elsewhere(version, naming_files()),
    ]
    for each in found:
        print(f"release: {each}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""Finds phrases that CONTRIBUTING.md rules out under "Plain technical English" (``make check``).

``python -m tests.style`` checks what CHECKED lists; with ``--all`` it counts the phrases in all
other files, so that the list can grow until it is everything.
"""

import re
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

# Files without such phrases. Patterns as of fnmatch: `*` matches `/` too.
CHECKED = (
    ".ci/*",
    ".github/*",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "bench/*",
    "docs/configuration.md",
    "docs/lint.md",
    "demo/*",
    "docs/doctor.md",
    "docs/issuers.md",
    "bench/*",
    "docs/looma*",
    "docs/operations.md",
    "docs/performance.md",
    "docs/policy-guide.md",
    "docs/scale.md",
    "docs/security.md",
    "docs/testing-policies.md",
    "docs/tokens.md",
    "docs/upstreams.md",
    "envoy/*",
    "fuzz/*",
    "proto/*",
    "sidecar/__*",
    "sidecar/config/*",
    "sidecar/app/*",
    "sidecar/cli/*",
    "sidecar/workbench/*",
    "tests/docs/*",
    "tests/e2e/*",
    "tests/edge/test_cli*",
    "tests/edge/test_deploy*",
    "sidecar/core/*",
    "sidecar/documents/*",
    "sidecar/extauthz/*",
    "sidecar/review/*",
    "sidecar/looma/*",
    "sidecar/net/*",
    "sidecar/ops/*",
    "sidecar/transport/*",
    "sidecar/workbench/candidates.py",
    "sidecar/workbench/explain.py",
    "sidecar/zervi/*",
    "tests/core/*",
    "tests/docs/*",
    "tests/edge/config_*_errors.txt",
    "tests/edge/config_files.py",
    "tests/edge/h2/*",
    "tests/edge/test_bench_*",
    "tests/edge/test_config_*",
    "tests/edge/test_extauthz_*",
    "tests/edge/test_soak.py",
    "tests/edge/test_transport_*",
    "tests/edge/transport_rig.py",
    "tests/generated_code.py",
    "tests/release.py",
    "tests/support/findings.py",
    "tests/workbench/test_check.py",
    "tests/workbench/test_lint_page.py",
    "tests/workbench/test_overlap.py",
    "tests/workbench/test_schema.py",
    "tests/security/*",
    "tests/support/*",
    "tests/upstreams/*",
    "tests/workbench/test_agreement.py",
    "tests/workbench/test_c[al]*",
    "tests/workbench/test_doctor*",
    "tests/workbench/test_explain.py",
    "tests/workbench/test_openapi.py",
    "tests/workbench/test_re*",
)
NOT_TEXT = ("*.lock", "*.png", "*.json", "*.mod", "*.sum", "LICENSE", "tests/*style.py")

# What not to write (after a word's beginning, up to a word's end), and what to write instead.
PHRASES = {
    r"(?:is|are|be|been|was|were|get|gets) told": "name the actor: the log shows, check reports",
    r"whom|whoever|for who\b": "name the actor",
    r"who (?:asks?|asked|wants)": "the caller, the client",
    r"(?<!let )(?<!-)alone": "only",
    r"(?<![`\"'])nobody(?![`\"'])|no one\b(?! of)": "name the actor: no client, no process",
    r"(?<!there )(?<!There )(?:is|are|was|were) no (?!longer|more\b|better|worse|\d)\w+":
        "is not a",
    r"stands? (?:here|there|beside|before|behind|in|first|again|alone)|(?:may|can|cannot) stand":
        "is",
    r"as (?:it|they) stands?": "unchanged",
    r"(?:is|are|be|being|stays|words?) away(?! from)": "is down, is unavailable",
    r"(?:an?|one|each) (?:entry|line|fetch|file|token|module|pause|probe|check) an? \w+": "per",
    r"what is (?:bad|wrong|misspelt)|a bad one": "invalid; name it",
    r"misspelt(?!-)": "misspelled, or a typo",
    r"decides nothing|asks (?:for )?nothing|asks nobody": "say what it does",
    r"(?:came|come|comes|became|become|becomes) of": "name the result",
    r"hears? of": "learns of, receives",
    r"wants": "needs, expects",
    r"(?:is|are) taken over": "reloads, applies",
    r"mended": "fixed",
    r"(?:hold|holds|held) (?:\w+ )?against": "compares",
    r"takes? a restart": "needs a restart",
    r"but for": "except",
    r"at once": "immediately, or together",
    r"at hand|to be had": "available, installed",
    r"(?:is|are|was|were) said": "name the actor: the log, the message",
    r"what (?:came|comes)": "the result",
}  # fmt: skip


_PATTERNS = {
    re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE): instead for phrase, instead in PHRASES.items()
}
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`|\]\([^)]+\)|\"[^\"\n]{1,40}\"", re.MULTILINE | re.DOTALL)
_LINE_END = re.compile(r"\n[ \t]*(?:#[ \t]*)?")


class Found(NamedTuple):
    """A phrase at a line."""

    line: int
    text: str
    instead: str


def found(text: str, *, is_page: bool) -> Iterator[Found]:
    """Yield the phrases of a text; one may go on in the next line. Code on a page is left out."""
    if is_page:
        text = _CODE.sub(lambda code: "`" + "\n" * code[0].count("\n"), text)
    joined = _LINE_END.sub(" ", text)
    removed = 0
    starts = [0]
    for end in _LINE_END.finditer(text):
        removed += len(end[0]) - 1
        starts.append(end.end() - removed)
    for pattern, instead in _PATTERNS.items():
        for each in pattern.finditer(joined):
            yield Found(bisect_right(starts, each.start()), each[0], instead)


def files() -> list[str]:
    """Return the files of the repository that hold text for people."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [
        each
        for each in listed
        if (ROOT / each).is_file() and not any(fnmatch(each, other) for other in NOT_TEXT)
    ]


def main(arguments: list[str]) -> int:
    """Print what is found; 1 if anything is."""
    everything = "--all" in arguments
    failed = False
    for path in files():
        if not everything and not any(fnmatch(path, each) for each in CHECKED):
            continue
        hits = sorted(
            found((ROOT / path).read_text(encoding="utf-8"), is_page=path.endswith(".md"))
        )
        failed |= bool(hits)
        if everything and hits:
            print(f"{len(hits):4} {path}")
        elif hits:
            for hit in hits:
                print(f"{path}:{hit.line}: {hit.text!r}: {hit.instead}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

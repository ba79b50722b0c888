"""Finds phrases that CONTRIBUTING.md rules out under "Plain technical English" (``make check``)."""

import re
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

NOT_TEXT = ("*.lock", "*.png", "*.json", "*.mod", "*.sum", "LICENSE", "tests/*style.py")

# What not to write (after a word's beginning, up to a word's end), and what to write instead.
PHRASES = {
    r"(?:is|are|be|been|was|were|get|gets) told": "name the actor: the log shows, check reports",
    r"whom|whoever|for who\b": "name the actor",
    r"who (?:asks?|asked|wants)": "the caller, the client",
    r"(?<!let )(?<!-)alone": "only",
    r"(?<![`\"'])nobody(?![`\"':])|no one\b(?! of)": "name the actor: no client, no process",
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


def main() -> int:
    """Print what is found; 1 if anything is."""
    failed = False
    for path in files():
        text = (ROOT / path).read_text(encoding="utf-8")
        for hit in sorted(found(text, is_page=path.endswith(".md"))):
            print(f"{path}:{hit.line}: {hit.text!r}: {hit.instead}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

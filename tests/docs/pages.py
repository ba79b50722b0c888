"""The pages of the project, and the blocks of commands on them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    str(path.relative_to(ROOT)) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
)

_SHELLS = {"console", "sh", "bash", "shell"}
_DIRECTIVE = re.compile(r"<!-- (file|copy|exits):? ?(.+?) -->\s*")
_PROMPT = "$ "


class Block(NamedTuple):
    """A block of code, with the comment right above it.

    ``directive`` is ``file`` (``argument`` names the file that the block is), ``copy`` (it names a
    file of the repository that the block needs) or ``exits`` (it is the exit code of the block's
    commands, instead of 0); empty without such a comment.
    """

    page: str
    line: int
    language: str
    text: str
    directive: str
    argument: str

    def is_commands(self) -> bool:
        """Say whether this is typed into a shell: an indented block is, a file is not."""
        typed = self.language in _SHELLS or self.text.startswith(_PROMPT)
        return typed and self.directive != "file"

    def first(self) -> str:
        """Return the first line, without the prompt."""
        return self.text.partition("\n")[0].removeprefix(_PROMPT)


class Command(NamedTuple):
    """What is typed, and what is shown below it; None in a script, which shows no output."""

    text: str
    shown: str | None


def read(page: str) -> str:
    """Return the text of a page, named as in PAGES."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, text: str) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    comment = ""
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language = token.info.strip() if token.type == "fence" else "sh"
            found = _DIRECTIVE.fullmatch(comment)
            directive, argument = found.groups() if found else ("", "")
            yield Block(page, token.map[0] + 1, language, token.content, directive, argument)
        comment = token.content if token.type == "html_block" else ""


def commands(block: Block) -> Iterator[Command]:
    """Split a block into commands; one may go on over several lines, as in a shell."""
    lines = block.text.splitlines(keepends=True)
    prompted = lines[0].startswith(_PROMPT)
    while lines:
        end = 1
        while not _is_complete("".join(lines[:end])):
            end += 1
        text = "".join(lines[:end]).removeprefix(_PROMPT)
        del lines[:end]
        if not prompted:
            yield Command(text, None)
            continue
        shown = ""
        while lines and not lines[0].startswith(_PROMPT):
            shown += lines.pop(0)
        yield Command(text, shown)


def _is_complete(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return not text.endswith("\\\n")

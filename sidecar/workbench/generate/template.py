"""Fills a YAML template: text within a line, or a block of lines in place of a line."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

_BLOCK = re.compile(r"( *)@\{(\w+)\}")
_WORD = re.compile(r"@\{(\w+)\}")

Values = Mapping[str, str | Sequence[str]]


def template(name: str) -> str:
    """Return a template of this package."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def fill(template: str, values: Values) -> str:
    """Return the template with its ``@{name}`` marks replaced.

    The lines of a sequence replace a mark that is a line by itself, indented like it; none leave
    it out. Raises KeyError for a mark without a value.
    """
    lines: list[str] = []
    for line in template.splitlines():
        block = _BLOCK.fullmatch(line)
        if block is None or isinstance(values[block[2]], str):
            lines.append(_WORD.sub(lambda mark: str(values[mark[1]]), line))
        else:
            lines += [(block[1] + each).rstrip() for each in values[block[2]]]
    return "\n".join(lines) + "\n"

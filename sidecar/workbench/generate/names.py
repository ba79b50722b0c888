"""One regular expression for many header names, short enough for Envoy's limit."""

import re
from collections.abc import Iterable
from typing import Final

# Many servers read x_user_id and x.user.id as x-user-id.
SEPARATOR: Final = "[^a-z0-9]"
OTHER_SEPARATOR: Final = "[^a-z0-9-]"

_WIDTH: Final = 80  # characters of a line

_Tree = dict[str, "_Tree"]


def expression(names: Iterable[str]) -> str:
    """Return what matches each name, whatever single characters separate its words.

    Names share the words that they begin with: RE2 compiles each separator to a dozen instructions.
    """
    tree: _Tree = {}
    for name in sorted(set(names)):
        branch = tree
        for word in name.split("-"):
            branch = branch.setdefault(word, {})
        branch[""] = {}
    return "|".join(_branches(tree))


def other_spellings(name: str) -> list[str]:
    """Return expressions that match a name with other separators, together every one but itself."""
    first, *words = name.split("-")
    found, before = [], first
    for place, word in enumerate(words):
        after = "".join(SEPARATOR + each for each in words[place + 1 :])
        found.append(f"{before}{OTHER_SEPARATOR}{word}{after}")
        before += f"-{word}"
    return found


def quoted_lines(text: str) -> list[str]:
    r"""Return a YAML text in double quotes, on several lines that break after a ``|``.

    A ``\`` at a line's end joins it with the next.
    """
    lines = [""]
    for part in re.findall(r"[^|]*\|?", text):
        if lines[-1] and len(lines[-1]) + len(part) > _WIDTH:
            lines.append("")
        lines[-1] += part
    return ('"' + "\\\n  ".join(lines) + '"').split("\n")


def _branches(tree: _Tree) -> list[str]:
    found = []
    for word, rest in tree.items():
        ends = rest.pop("", None) is not None
        below = _branches(rest)
        if not below:
            found.append(word)
        elif ends:
            found.append(f"{word}({SEPARATOR}{_grouped(below)})?")
        else:
            found.append(f"{word}{SEPARATOR}{_grouped(below)}")
    return found


def _grouped(expressions: list[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"({'|'.join(expressions)})"

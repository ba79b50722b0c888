"""One regular expression for many header names, short enough for Envoy's limit."""

import re
from collections.abc import Iterable
from typing import Final

# Many servers read x_user_id and x.user.id as x-user-id.
SEPARATOR: Final = "[^a-z0-9]"

_WIDTH: Final = 80  # characters of a line

_END: Final = "$"  # of a name; a word has only letters and digits, and may be empty
_Tree = dict[str, "_Tree"]
_NOT_IN_A_WORD: Final = re.compile(SEPARATOR)


def expression(names: Iterable[str]) -> str:
    """Return what matches each name, whatever single characters separate its words.

    Names share the words that they begin with: RE2 compiles each separator to a dozen instructions.
    """
    tree: _Tree = {}
    for name in sorted(set(names)):
        branch = tree
        for word in _NOT_IN_A_WORD.split(name):
            branch = branch.setdefault(word, {})
        branch[_END] = {}
    return "|".join(_branches(tree))


def other_spellings(name: str) -> list[str]:
    """Return expressions that match a name with other separators, together every one but itself."""
    words = _NOT_IN_A_WORD.split(name)
    own = [re.escape(each) for each in _NOT_IN_A_WORD.findall(name)]
    found, before = [], words[0]
    for place, (separator, word) in enumerate(zip(own, words[1:], strict=True), 2):
        after = "".join(SEPARATOR + each for each in words[place:])
        found.append(f"{before}[^a-z0-9{separator}]{word}{after}")
        before += separator + word
    return found


def quoted_lines(text: str) -> list[str]:
    r"""Return a YAML text in double quotes, on several lines that break after a ``|``.

    A ``\`` at a line's end joins it with the next.
    """
    lines = [""]
    for part in re.findall(r"[^|]*\|?", text.replace("\\", r"\\")):
        if lines[-1] and len(lines[-1]) + len(part) > _WIDTH:
            lines.append("")
        lines[-1] += part
    return ('"' + "\\\n  ".join(lines) + '"').split("\n")


def _branches(tree: _Tree) -> list[str]:
    found = []
    for word, rest in tree.items():
        ends = rest.pop(_END, None) is not None
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

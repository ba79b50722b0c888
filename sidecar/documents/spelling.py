"""Names that are one letter from another name, and so probably meant to be that one."""

from collections.abc import Iterable, Iterator, Mapping

MIN_LENGTH = 4  # shorter names are close to each other by chance


def likely_typos(used: Mapping[str, int], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield names with the one that each is probably meant to be.

    ``used`` counts how often each name is used. A name is suspect where it is not ``known`` and
    one letter (more, less, another, or two swapped) from one that is, or that is used more often.
    Digits tell names apart: ``v1`` is not a misspelt ``v2``.
    """
    sure = set(known)
    by_key: dict[str, list[str]] = {}
    for name in dict.fromkeys([*sure, *used]):
        for key in _shortened(name):
            by_key.setdefault(key, []).append(name)
    for name, count in used.items():
        if name in sure or len(name) < MIN_LENGTH:
            continue
        near = {
            other
            for key in _shortened(name)
            for other in by_key[key]
            if other != name and one_apart(name, other)
        }
        meant = [other for other in near if other in sure or used.get(other, 0) > count]
        if meant:
            yield (
                name,
                min(meant, key=lambda other: (other not in sure, -used.get(other, 0), other)),
            )


def one_apart(one: str, other: str) -> bool:
    """Say whether two different names are one letter apart; a digit is no letter."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if any(character.isdigit() for character in left + right):
        return False
    return max(len(left), len(right)) == 1 or (len(left) == 2 and left == right[::-1])


def _shortened(name: str) -> set[str]:
    """Return the name, and what is left of it without each of its letters."""
    return {name, *(name[:index] + name[index + 1 :] for index in range(len(name)))}

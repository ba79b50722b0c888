"""Finds names that differ by one letter from another name, and so are probably typos."""

from collections.abc import Iterable, Iterator, Mapping

MIN_LENGTH = 4  # shorter names are similar by chance


def likely_typos(used: Mapping[str, int], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each probable typo with the name that was probably meant.

    ``used`` counts how often each name is used, in the order of their first use. A name is a
    probable typo if it is not ``known`` and differs by one letter (added, missing, changed, or two
    swapped) from a name that is known or used more often; of two that are used once, the second is.
    Digits distinguish names: ``v1`` is not a typo of ``v2``.
    """
    sure = set(known)
    by_key: dict[str, list[str]] = {}
    for name in dict.fromkeys([*sure, *used]):
        for key in _shortened(name):
            by_key.setdefault(key, []).append(name)
    order = {name: index for index, name in enumerate(used)}
    for name, count in used.items():
        if name in sure or len(name) < MIN_LENGTH:
            continue
        near = {
            other
            for key in _shortened(name)
            for other in by_key[key]
            if other != name and one_apart(name, other)
        }
        meant = [
            other
            for other in near
            if other in sure or used[other] > count or (count == 1 and order[other] < order[name])
        ]
        if meant:
            yield (
                name,
                min(meant, key=lambda other: (other not in sure, -used.get(other, 0), other)),
            )


def one_apart(one: str, other: str) -> bool:
    """Return whether two different names differ by one letter; a digit is not a letter."""
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
    """Return the name, and the name without each one of its letters."""
    return {name, *(name[:index] + name[index + 1 :] for index in range(len(name)))}

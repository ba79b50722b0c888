"""The fold of upper and lower case, over all code points."""

import re
import sys
from collections.abc import Callable
from functools import cache
from itertools import chain

import pytest

from sidecar.core.paths.fold import fold


@cache
def characters() -> list[str]:
    """Return the code points that have another case; surrogates are not text."""
    every = map(chr, chain(range(0xD800), range(0xE000, sys.maxunicode + 1)))
    return [c for c in every if not c == c.upper() == c.lower() == c.casefold()]


def simple(text: str) -> str:
    """Return the single character, or the text itself where case makes more than one of it."""
    return text if len(text) == 1 else ""


@pytest.mark.parametrize(
    "change",
    [str.lower, str.upper, str.casefold, str.title, str.swapcase],
    ids=lambda change: change.__name__,
)
def test_a_character_and_its_other_cases_have_one_fold(change: Callable[[str], str]) -> None:
    """In full, as Python and Java change the case of text."""
    assert not [c for c in characters() if fold(change(c)) != fold(c)]


def test_a_character_is_compared_as_java_and_net_compare_single_characters() -> None:
    """By the simple mappings: to upper case, and that to lower case."""
    for c in characters():
        upper = simple(c.upper()) or c
        lower = simple(upper.lower()) or upper
        # Java and .NET map İ to i by itself, Python only with the dot.
        assert fold(lower) == fold(upper) == fold(c)


def test_what_pythons_regular_expressions_take_for_an_ascii_letter_has_its_fold() -> None:
    """They know a few pairs more than lower-casing has."""
    for letter in "abcdefghijklmnopqrstuvwxyz":
        same = re.compile(letter, re.IGNORECASE)
        assert all(fold(c) == letter for c in characters() if same.fullmatch(c))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u0130", "i"),
        ("\u0131", "i"),
        ("i\u0307", "i"),
        ("\u017f", "s"),
        ("\u212a", "k"),
        ("\u00b5", "\u03bc"),
        ("\u03c2", "\u03c3"),
        ("Stra\u00dfe", "STRASSE"),
        ("\u1e9e", "ss"),
        ("\u01c5", "\u01c6"),
    ],
)
def test_known_pairs_have_one_fold(one: str, other: str) -> None:
    """Those that other folds tell apart."""
    assert fold(one) == fold(other) == fold(one.upper()) == fold(other.upper())


def test_a_fold_of_a_fold_is_itself_and_ascii_stays_ascii() -> None:
    """So that literals can be folded once, at load."""
    assert all(fold(fold(c)) == fold(c) for c in characters())
    assert all(fold(c) == c.lower() for c in map(chr, range(128)))


def test_letters_that_differ_by_more_than_case_have_different_folds() -> None:
    """An accent is kept, and two letters of ASCII never have the same fold."""
    assert fold("caf\u00e9") != fold("cafe")
    assert len({fold(c) for c in "abcdefghijklmnopqrstuvwxyz"}) == 26

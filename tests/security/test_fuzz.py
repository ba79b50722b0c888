"""The fuzzer's targets hold for their seeds and for a few thousand changes of them."""

import random

import pytest

from fuzz.__main__ import NAMES
from fuzz.engine import TooSlowError, bounded, changed
from fuzz.targets import TARGETS

CHANGES = 1000


def test_every_target_can_be_named() -> None:
    assert set(NAMES) == set(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_holds_for_its_seeds_and_changes_of_them(name: str) -> None:
    """The same ones each time; ``make fuzz`` looks further."""
    target, dice = TARGETS[name], random.Random(name)
    seeds = list(target.seeds())
    assert len(seeds) > 5
    for seed in seeds:
        target.run(seed)
    for _ in range(CHANGES):
        target.run(changed(dice.choice(seeds), seeds, dice))


def test_an_input_that_takes_far_too_long_is_a_failure() -> None:
    """The bound is a multiple of the slowest seed's time."""

    def slow(octets: bytes) -> None:
        for _ in range(10_000_000 * len(octets)):
            pass

    run = bounded(slow, [b""])
    run(b"")
    with pytest.raises(TooSlowError):
        run(b"x")

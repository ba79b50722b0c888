"""Runs a target on many inputs for a bounded time: with atheris if installed, else hypothesis.

An input that takes SLOWER times as long as the slowest seed, three times in a row, is a failure
too: the parser's work is not bounded.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

SLOWER = 50
LEAST_SECONDS = 0.002  # lower bound for the slowest seed, because the clock is imprecise
MAX_BYTES = 16 * 1024
FINDINGS = Path("build/fuzz")
ROUND = 500  # inputs between two looks at the clock


class TooSlowError(AssertionError):
    """An input took far longer than the seeds."""


def bounded(run: Callable[[bytes], None], seeds: Sequence[bytes]) -> Callable[[bytes], None]:
    """Return ``run`` with a time limit: SLOWER times that of the slowest seed."""
    usual = max(LEAST_SECONDS, *(min(_seconds(run, seed) for _ in range(3)) for seed in seeds))

    def run_in_time(octets: bytes) -> None:
        if _seconds(run, octets) > usual * SLOWER:
            least = min(_seconds(run, octets) for _ in range(3))
            if least > usual * SLOWER:
                raise TooSlowError(f"{least:.3f} s for {len(octets)} bytes; usual is {usual:.4f} s")

    return run_in_time


def _seconds(run: Callable[[bytes], None], octets: bytes) -> float:
    began = time.process_time()
    run(octets)
    return time.process_time() - began


def with_atheris(run: Callable[[bytes], None], seeds: Sequence[bytes], seconds: int) -> None:
    """Fuzz guided by coverage; ends the process. Failing inputs are written to FINDINGS."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # -- optional

    with tempfile.TemporaryDirectory() as directory:
        for index, seed in enumerate(seeds):
            (Path(directory) / str(index)).write_bytes(seed)
        FINDINGS.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-verbosity=0"]
        options.append(f"-artifact_prefix={FINDINGS}/")
        atheris.Setup([sys.argv[0], *options, directory], run)
        atheris.Fuzz()


def with_hypothesis(run: Callable[[bytes], None], seeds: Sequence[bytes], seconds: float) -> int:
    """Mutate the seeds at random and shrink failures; return the number of inputs."""
    count = 0

    @settings(max_examples=ROUND, deadline=None, database=None)
    @given(st.sampled_from(seeds) | st.binary(max_size=200), st.integers(0, 2**64 - 1))
    def check(seed: bytes, number: int) -> None:
        nonlocal count
        count += 1
        run(changed(seed, seeds, random.Random(number)))  # noqa: S311 -- not a secret

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
    return count


def changed(seed: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """Return a seed with a few bytes flipped, dropped, doubled, inserted or taken from another."""
    octets = bytearray(seed)
    for _ in range(dice.randrange(6)):
        at = dice.randrange(len(octets) + 1)
        match dice.randrange(5):
            case 0 if at < len(octets):
                octets[at] ^= 1 << dice.randrange(8)
            case 1:
                del octets[at : at + dice.randrange(1, 5)]
            case 2:
                octets[at:at] = octets[at : at + dice.randrange(1, 20)] * dice.choice((1, 1, 50))
            case 3:
                octets[at:at] = dice.randbytes(dice.randrange(1, 4))
            case _:
                other = dice.choice(seeds)
                start = dice.randrange(len(other) + 1)
                octets[at : at + 8] = other[start : start + dice.randrange(1, 40)]
    return bytes(octets[:MAX_BYTES])

"""When a gateway asks its registry again: soon after an outage, and not all gateways together."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError
from sidecar.looma.directory.reader import JITTER, MAX_FAILING, Reader


class Registry:
    """Fails ``failures`` times, then has an answer, and so on."""

    def __init__(self, interval: float = 5.0, failures: int = 0) -> None:
        self.interval = interval
        self.failures = failures
        self.asked = 0

    async def poll(self) -> Listing | None:
        self.asked += 1
        if self.asked <= self.failures:
            raise PollError("down")
        return Listing(())

    async def close(self) -> None:
        """Nothing runs."""


async def pauses(registry: Registry, seed: int, count: int) -> list[float]:
    """Return the first pauses of a reader, without their time."""
    found: list[float] = []
    full = asyncio.Event()

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        if len(found) == count:
            full.set()
            await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("asyncio.sleep", sleep)
        running = asyncio.create_task(
            Reader(registry, lambda _: None, lambda _: None, Random(seed)).run()
        )
        await full.wait()
        running.cancel()
        await asyncio.wait([running])
    return found


@given(interval=st.floats(1.0, 60.0), seed=st.integers(0, 99), failures=st.integers(1, 40))
def test_after_an_outage_of_any_length_the_registry_is_asked_within_15_s(
    interval: float, seed: int, failures: int
) -> None:
    """Or within the interval that the registry asks for."""
    found = asyncio.run(pauses(Registry(interval, failures), seed, failures + 1))
    *failing, steady = found
    assert max(failing) <= max(MAX_FAILING, interval)
    assert min(failing) >= min(interval * 2, MAX_FAILING) / 3
    assert interval * (1 - JITTER) <= steady <= interval * (1 + JITTER)


def test_gateways_that_fail_in_the_same_moment_spread_over_most_of_the_wait() -> None:
    first = [asyncio.run(pauses(Registry(1.0, 1), seed, 1))[0] for seed in range(200)]
    assert max(first) - min(first) > 1.2, "of the two seconds"
    assert sum(1.0 < each < 1.2 for each in first) < 60, "a fifth of a second has its share"


def test_an_outage_doubles_the_wait_up_to_the_bound() -> None:
    found = asyncio.run(pauses(Registry(1.0, 8), 7, 8))
    windows = [2.0, 4.0, 8.0, *[MAX_FAILING] * 5]
    for pause, window in zip(found, windows, strict=True):
        assert window / 3 <= pause <= window

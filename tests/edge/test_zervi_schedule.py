"""When to fetch: the schedule's bounds, as properties over plain numbers."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.zervi.fetch import freshness
from sidecar.zervi.schedule import (
    DEMAND_BURST,
    JITTER,
    MIN_MAX_AGE,
    QUICK_RETRIES,
    RETRY_CAP,
    RETRY_CAP_URGENT,
    RETRY_FIRST,
    RETRY_FLOOR,
    RETRY_SHARE,
    Ration,
    Schedule,
)

REFRESH = st.floats(1, 86400)
SEEDS = st.integers().map(Random)


@given(REFRESH, SEEDS, st.none() | st.floats(0, 1e10))
def test_a_refresh_is_never_later_than_configured(
    refresh: float, random: Random, max_age: float | None
) -> None:
    """max-age may shorten the interval, down to its bound, and never lengthens it."""
    delay = Schedule(refresh, random).after_success(max_age)
    shortest = refresh if max_age is None else min(refresh, max(max_age, MIN_MAX_AGE))
    assert shortest * (1 - JITTER) <= delay <= shortest * (1 + JITTER)
    assert delay <= refresh * (1 + JITTER)


def test_refreshes_are_spread_over_the_whole_jitter() -> None:
    """Pods that started together do not go on together."""
    delays = [Schedule(100, Random(seed)).after_success(None) for seed in range(1000)]
    assert min(delays) < 86
    assert max(delays) > 114


@given(REFRESH, SEEDS, st.lists(st.booleans(), max_size=100))
def test_a_retry_keeps_to_its_bounds(refresh: float, random: Random, urgency: list[bool]) -> None:
    """The ceiling doubles with each failure, up to the cap of the moment."""
    schedule = Schedule(refresh, random)
    for failures, urgent in enumerate(urgency):
        delay = schedule.after_failure(urgent=urgent)
        first = RETRY_FIRST if urgent else max(RETRY_FIRST, RETRY_SHARE * refresh)
        assert RETRY_FLOOR <= delay <= first * 2**failures
        assert delay <= (RETRY_CAP_URGENT if urgent else RETRY_CAP)
        assert urgent or delay <= max(refresh, RETRY_CAP_URGENT)


def test_retries_use_the_whole_span_under_their_ceiling() -> None:
    """Full jitter: what was cut off at one instant does not come back at one instant."""
    schedules = [Schedule(300, Random(seed)) for seed in range(1000)]
    for schedule in schedules:
        for _ in range(20):
            schedule.after_failure(urgent=True)
    delays = [schedule.after_failure(urgent=True) for schedule in schedules]
    assert min(delays) < 0.5
    assert max(delays) > RETRY_CAP_URGENT - 0.5


def test_a_retry_that_nothing_hurts_without_leaves_a_fleet_its_rate() -> None:
    """With usable keys the first try falls within two thirds of an interval, later ones in one."""
    schedules = [Schedule(300, Random(seed)) for seed in range(1000)]
    first = [schedule.after_failure(urgent=False) for schedule in schedules]
    second = [schedule.after_failure(urgent=False) for schedule in schedules]
    assert 190 < max(first) <= 200
    assert 290 < max(second) <= 300


def test_a_key_that_is_asked_for_makes_the_first_retries_quick_and_no_others() -> None:
    """A caller waits seconds for a rotated key; made-up kids cannot make a fleet hurry."""
    schedules = [Schedule(300, Random(seed)) for seed in range(1000)]
    for failures in range(QUICK_RETRIES):
        delays = [schedule.after_failure(urgent=False, wanted=True) for schedule in schedules]
        assert max(delays) <= RETRY_FIRST * 2**failures
    later = [schedule.after_failure(urgent=False, wanted=True) for schedule in schedules]
    assert max(later) > 290


def test_a_success_forgets_the_failures() -> None:
    """After a good fetch the next failure is again followed by a quick retry."""
    schedule = Schedule(300, Random(1))
    for _ in range(20):
        schedule.after_failure(urgent=True)
    schedule.after_success(None)
    assert schedule.after_failure(urgent=True) <= RETRY_FIRST


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_a_flood_gets_the_burst_and_then_one_each_cooldown(
    seconds: float, gaps: list[float]
) -> None:
    """However the questions fall, no more are granted than the burst and one a ration."""
    ration = Ration(DEMAND_BURST, seconds)
    now, granted = 0.0, 0
    for gap in gaps:
        now += gap
        granted += ration.take(now)
    assert granted <= DEMAND_BURST + now / seconds + 1e-6


def test_the_burst_is_there_at_once_and_again_after_a_quiet_time() -> None:
    """The ration is full at the start, one grows back each cooldown, never more than the burst."""
    ration = Ration(DEMAND_BURST, 30)
    assert [ration.take(1000) for _ in range(3)] == [True, True, False]
    assert [ration.take(1030), ration.take(1030)] == [True, False]
    assert [ration.take(9000) for _ in range(3)] == [True, True, False]


def test_what_is_given_back_can_be_taken_again_but_never_exceeds_the_burst() -> None:
    """A fetch that brought a new key costs nothing, and earns nothing."""
    ration = Ration(DEMAND_BURST, 30)
    ration.give_back()
    assert [ration.take(1000) for _ in range(3)] == [True, True, False]
    ration.give_back()
    assert [ration.take(1000), ration.take(1000)] == [True, False]


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("max-age=60", "", 60),
        ("public, max-age=60", "", 60),
        ("public,max-age=60,must-revalidate", "", 60),
        ('MAX-AGE="60"', "", 60),
        ("no-cache, no-store, max-age=0, must-revalidate", "", 0),
        ("max-age=60, max-age=30", "", 30),
        ("max-age=60", "15", 45),
        ("max-age=60", "61", 0),
        ("max-age=60", "-5", 60),
        ("max-age=60", "junk", 60),
        ("", "", None),
        ("no-store", "", None),
        ("s-maxage=60", "", None),
        ("x-max-age=60", "", None),
        ("max-age=-1", "", None),
        ("max-age=1.5", "", None),
        ("max-age=" + "9" * 5000, "", None),
        ("max-age=٣٠", "", None),
        ("max-age", "", None),
    ],
)
def test_cache_control_is_read_leniently_and_without_harm(
    cache_control: str, age: str, seconds: float | None
) -> None:
    """max-age less Age where both can be read; what cannot be read says nothing."""
    assert freshness(cache_control, age) == seconds

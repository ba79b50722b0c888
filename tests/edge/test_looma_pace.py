"""When a node speaks to its registry."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.looma.pace import MAX_RETRY_AFTER, Pace
from sidecar.looma.registry import (
    Failed,
    Ok,
    Operation,
    Outcome,
    RetryAfter,
    Unauthorized,
    Unregistered,
)

HEARTBEAT = 30.0
FAILURES: list[Outcome] = [Failed("x"), Unauthorized("x"), RetryAfter(0.0, "x")]


class Dice(Random):
    """Dice that fall on one share of each range."""

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self.share = share

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.share


def registered(dice: Dice, answer: Ok | None = None) -> Pace:
    """Return a pace at time 0, registered and with one heartbeat accepted."""
    pace = Pace(HEARTBEAT, dice, 0.0)
    pace.done(answer or Ok(), 0.0)
    pace.done(Ok(), 0.0)
    return pace


@pytest.mark.parametrize(("share", "due"), [(0.0, 0.0), (0.5, 10.0), (1.0, 20.0)])
def test_a_node_registers_at_a_random_moment_within_two_thirds_of_an_interval(
    share: float, due: float
) -> None:
    pace = Pace(HEARTBEAT, Dice(share), 0.0)
    assert pace.operation is Operation.REGISTER
    assert pace.due == pytest.approx(due)


@pytest.mark.parametrize(("share", "due"), [(0.0, 5.0), (0.5, 20.0), (1.0, 35.0)])
def test_the_first_heartbeat_has_a_random_phase(share: float, due: float) -> None:
    pace = Pace(HEARTBEAT, Dice(share), 0.0)
    pace.done(Ok(), 5.0)
    assert pace.operation is Operation.HEARTBEAT
    assert pace.due == pytest.approx(due)


@pytest.mark.parametrize(("share", "gap"), [(0.0, 27.0), (0.5, 30.0), (1.0, 33.0)])
def test_heartbeats_have_ten_percent_of_jitter(share: float, gap: float) -> None:
    pace = registered(Dice(share))
    pace.done(Ok(), 100.0)
    assert pace.due == pytest.approx(100.0 + gap)


@given(
    ttl=st.floats(5, 86_400),
    interval=st.none() | st.floats(1, 3_600),
    share=st.floats(0, 1),
)
def test_no_gap_between_heartbeats_exceeds_a_third_of_the_ttl(
    ttl: float, interval: float | None, share: float
) -> None:
    pace = registered(Dice(share), Ok(ttl, interval))
    pace.done(Ok(), 1000.0)
    assert pace.due - 1000.0 <= ttl / 3 + 1e-6
    assert pace.due > 1000.0


def test_an_interval_that_the_registry_asks_for_is_kept_until_it_asks_for_another() -> None:
    pace = registered(Dice(0.5), Ok(interval=60.0))
    pace.done(Ok(), 0.0)
    assert pace.due == pytest.approx(60.0)
    pace.done(Ok(interval=15.0), 60.0)
    assert pace.due == pytest.approx(75.0)


@pytest.mark.parametrize("outcome", FAILURES)
def test_backoff_grows_to_the_interval_and_is_reset_by_success(outcome: Outcome) -> None:
    pace = registered(Dice(1.0))
    gaps = []
    for _ in range(4):
        pace.done(outcome, 10.0)
        gaps.append(pace.due - 10.0)
    assert gaps == pytest.approx([20.0, 30.0, 30.0, 30.0])
    pace.done(Ok(), 10.0)
    pace.done(outcome, 10.0)
    assert pace.due - 10.0 == pytest.approx(20.0)


@given(st.floats(0, 1), st.integers(1, 2000))
def test_backoff_is_full_jitter_however_long_it_lasts(share: float, failures: int) -> None:
    pace = registered(Dice(share))
    for _ in range(failures):
        pace.done(Failed("x"), 10.0)
    window = 20.0 if failures == 1 else 30.0
    assert pace.due - 10.0 == pytest.approx(share * window)


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (7.0, 7.0), (1e9, MAX_RETRY_AFTER)])
def test_retry_after_is_obeyed_within_bounds_and_spread(asked: float, waited: float) -> None:
    soonest, latest = registered(Dice(0.0)), registered(Dice(1.0))
    for pace in (soonest, latest):
        pace.done(RetryAfter(asked, "busy"), 10.0)
    assert soonest.due - 10.0 == pytest.approx(waited)
    assert latest.due - 10.0 == pytest.approx(waited + 20.0)


def test_a_forgotten_node_registers_again_at_once() -> None:
    pace = registered(Dice(1.0))
    pace.done(Unregistered(), 50.0)
    assert (pace.operation, pace.due) == (Operation.REGISTER, 50.0)


def test_a_registry_that_comes_back_empty_is_not_stormed() -> None:
    pace = registered(Dice(1.0))
    pace.done(Failed("x"), 40.0)
    pace.done(Unregistered(), 50.0)
    assert pace.operation is Operation.REGISTER
    assert pace.due == pytest.approx(70.0)


def test_a_registry_that_forgets_each_time_is_not_asked_in_a_loop() -> None:
    pace = Pace(HEARTBEAT, Dice(1.0), 0.0)
    pace.done(Ok(), 0.0)
    pace.done(Unregistered(), 50.0)
    assert pace.due == pytest.approx(70.0)


def test_a_node_that_was_silent_for_a_ttl_registers_without_asking() -> None:
    pace = registered(Dice(0.5))
    operations = []
    for now in (299.0, 300.0):
        pace.done(Failed("x"), now)
        operations.append(pace.operation)
    assert operations == [Operation.HEARTBEAT, Operation.REGISTER]


def test_a_change_is_reported_at_once() -> None:
    pace = registered(Dice(0.5))
    pace.change(12.0)
    assert (pace.operation, pace.due) == (Operation.HEARTBEAT, 12.0)


def test_a_state_that_flaps_is_reported_once_a_second() -> None:
    pace = registered(Dice(0.5))
    reported = []
    for tenth in range(50):
        now = 10.0 + tenth / 10
        pace.change(now)
        if pace.due <= now:
            pace.sent(now)
            pace.done(Ok(), now)
            reported.append(now)
    assert reported == pytest.approx([10.0, 11.0, 12.0, 13.0, 14.0])


def test_a_change_does_not_hurry_a_registry_that_fails() -> None:
    pace = registered(Dice(1.0))
    pace.done(RetryAfter(60.0, "busy"), 10.0)
    due = pace.due
    pace.change(11.0)
    assert pace.due == due


def test_a_change_does_not_hurry_a_registration() -> None:
    pace = Pace(HEARTBEAT, Dice(0.5), 0.0)
    pace.change(1.0)
    assert pace.due == pytest.approx(10.0)


@given(st.lists(st.sampled_from([Ok(), Unregistered(), *FAILURES]), max_size=60), st.integers())
def test_whatever_the_registry_answers_the_next_moment_is_neither_past_nor_far(
    outcomes: list[Outcome], seed: int
) -> None:
    pace = Pace(HEARTBEAT, Random(seed), 0.0)
    now = 0.0
    for outcome in outcomes:
        now = max(now, pace.due)
        pace.done(outcome, now)
        assert now <= pace.due <= now + MAX_RETRY_AFTER + 1.1 * HEARTBEAT

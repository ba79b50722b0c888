"""A fleet on a made-up clock never storms its registry or its Zervi."""

import pytest

from bench import fleet
from bench.fleet_report import LIMIT, Phase, Story

NODES = 500


@pytest.fixture(scope="module")
def looma() -> Story:
    server = fleet.SimulatedLooma(fleet.LOOMA_PHASES[-1].end)
    fleet.run(fleet.looma_story(server, NODES))
    return Story("Looma", fleet.LOOMA_PHASES, fleet.looma_steady(NODES), server.by_kind)


@pytest.fixture(scope="module")
def zervi() -> Story:
    server = fleet.SimulatedZervi(fleet.ZERVI_PHASES[-1].end)
    fleet.run(fleet.zervi_story(server, NODES))
    return Story("Zervi", fleet.ZERVI_PHASES, NODES / fleet.REFRESH, server.by_kind)


@pytest.fixture(scope="module")
def feed() -> Story:
    server = fleet.SimulatedFeed(fleet.FEED_PHASES[-1].end)
    fleet.run(fleet.feed_story(server, NODES))
    return Story("Feed", fleet.FEED_PHASES, NODES / fleet.POLL, server.by_kind)


@pytest.mark.parametrize("phase", fleet.LOOMA_PHASES, ids=lambda phase: phase.name)
def test_no_event_brings_looma_three_times_its_steady_rate(looma: Story, phase: Phase) -> None:
    """Not even a start of all nodes in one second, or a registry that comes back empty."""
    assert looma.busiest(phase, seconds=10) <= LIMIT * looma.steady


@pytest.mark.parametrize("phase", fleet.ZERVI_PHASES, ids=lambda phase: phase.name)
def test_no_event_brings_zervi_three_times_its_steady_rate(zervi: Story, phase: Phase) -> None:
    """Over a minute: at three fetches a second chance makes peaks of seconds."""
    assert zervi.busiest(phase, seconds=60) <= LIMIT * zervi.steady


@pytest.mark.parametrize("phase", fleet.FEED_PHASES, ids=lambda phase: phase.name)
def test_no_event_brings_the_feed_of_revocations_three_times_its_steady_rate(
    feed: Story, phase: Phase
) -> None:
    """Not even a logout, which leads each node to a second page, or a Zervi that comes back."""
    assert feed.busiest(phase, seconds=10) <= LIMIT * feed.steady


def test_gateways_ask_for_the_directory_and_less_often_while_looma_is_down(looma: Story) -> None:
    def calls(phase: Phase) -> float:
        return sum(looma.by_kind["membership"][phase.begin : phase.end]) / (phase.end - phase.begin)

    _, steady, dead, *_ = fleet.LOOMA_PHASES
    assert 0.8 * fleet.GATEWAY_CALLS <= calls(steady) <= 1.2 * fleet.GATEWAY_CALLS
    assert calls(dead) < 0.3 * calls(steady), "and still within 15 s of its return"


def test_every_node_is_registered_again_after_each_loss(looma: Story) -> None:
    start, _, _, back, _, back_again = fleet.LOOMA_PHASES
    registrations = [
        sum(looma.by_kind["register"][phase.begin : phase.end])
        for phase in (start, back, back_again)
    ]
    assert registrations[0] == registrations[2] == NODES
    assert NODES * 0.9 <= registrations[1] <= NODES * 1.1

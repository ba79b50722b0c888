"""The upstream's state, from one probe to the next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.upstream.state import UpstreamHealth, UpstreamState, after_probe

UNKNOWN, HEALTHY = UpstreamState.UNKNOWN, UpstreamState.HEALTHY
WARNING, CRITICAL = UpstreamState.WARNING, UpstreamState.CRITICAL


@pytest.mark.parametrize(
    ("probes", "states"),
    [
        ("+", [HEALTHY]),
        ("-", [WARNING]),
        ("---", [WARNING, WARNING, CRITICAL]),
        ("----+", [WARNING, WARNING, CRITICAL, CRITICAL, HEALTHY]),
        ("+-+--+", [HEALTHY, WARNING, HEALTHY, WARNING, WARNING, HEALTHY]),
    ],
)
def test_states_follow_the_probes(probes: str, states: list[UpstreamState]) -> None:
    health = UpstreamHealth()
    assert health.state is UNKNOWN
    seen = []
    for probe in probes:
        health = after_probe(health, succeeded=probe == "+")
        seen.append(health.state)
    assert seen == states


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_only_the_failures_since_the_last_success_count(probes: list[bool]) -> None:
    health = UpstreamHealth()
    for succeeded in probes:
        health = after_probe(health, succeeded)
    failures = next((i for i, ok in enumerate(reversed(probes)) if ok), len(probes))
    assert health.state is (CRITICAL if failures >= 3 else WARNING if failures else HEALTHY)

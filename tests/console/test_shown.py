"""What other programs write is shown within bounds, and without surprises."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.console import shown
from sidecar.console.fleet.fleet import History
from sidecar.console.fleet.nodes import NotANodeError, as_json, node
from tests.console.rig import entry, hostile_entry

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(list(entry()) + list(entry()["report"]) + list(entry()["report"]["metrics"]))


@given(st.text())
def test_a_text_is_printable_and_bounded(given_text: str) -> None:
    found = shown.text(given_text, 20)
    assert found.isprintable()
    assert len(found) <= 21


@given(st.text(), st.text())
def test_names_are_valid_in_a_path_and_different_for_different_ids(one: str, other: str) -> None:
    first, second = shown.name(one), shown.name(other)
    assert (first == second) == (one == other)
    assert all(c.isascii() and (c.isalnum() or c in "._:-") for c in first)
    assert first not in {".", ".."}


@pytest.mark.parametrize("value", [True, -1, 1.5, "7", None, 2**60, [], math.nan])
def test_what_is_no_count_has_no_value(value: object) -> None:
    assert shown.count(value) is None


@pytest.mark.parametrize("value", [True, -0.1, math.nan, math.inf, "1", None, {}])
def test_what_is_no_number_has_no_value(value: object) -> None:
    assert shown.number(value) is None


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2026-11-28T12:00:00", "9" * 50, -5, 1e300, "0001-01-01T00:00:00Z"]
)
def test_what_is_no_time_has_no_value(value: object) -> None:
    assert shown.moment(value) is None


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_entry_is_a_node_of_bounded_size_or_none(values: dict[str, Any]) -> None:
    """Whatever an entry holds, it is refused or becomes JSON of a few KiB."""
    for given_entry in (values, {**entry(), **values}, entry(report=values)):
        try:
            found = node(given_entry)
        except NotANodeError:
            continue
        text = json.dumps(as_json(found, 1e9), allow_nan=False)
        assert len(text) < 40_000


def test_hostile_entries_stay_bounded_and_printable() -> None:
    for number in range(22):
        found = node(hostile_entry(number))
        for text in (found.service, found.address, found.status, *found.labels.values()):
            assert text.isprintable()
            assert len(text) <= shown.MAX_TEXT + 8
        assert len(found.words) < 3_000


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, {"service_id": ""}, {"service_id": []}])
def test_what_has_no_id_is_not_a_node(value: object) -> None:
    with pytest.raises(NotANodeError):
        node(value)


def test_a_node_that_reports_the_future_is_shown_with_its_clock() -> None:
    found = node(entry(report={"timestamp": "2031-01-01T00:00:00Z"}))
    assert found.ahead > 100_000_000
    assert as_json(found, 1_000.0)["last_heartbeat_seconds_ago"] == 0.0  # never negative


def test_more_denials_than_checks_is_not_believed() -> None:
    report = entry(report={"metrics": {"checks_total": 5, "denials_total": 500}})
    assert node(report).report.denials == 5


def _taken(history: History, checks: int, second: int, **more: Any) -> Any:
    report = {
        "timestamp": f"2026-11-28T12:00:{second:02}Z",
        "metrics": {"checks_total": checks, "denials_total": checks // 10},
        **more,
    }
    return history.take([entry(report=report)]).rates["basic-00001"]


def test_rates_come_from_the_last_two_reports() -> None:
    history = History()
    assert _taken(history, 1000, 0).checks == 0
    assert _taken(history, 1300, 30).checks == 10
    assert _taken(history, 1300, 30).checks == 10  # the same report again
    assert len(history.of("basic-00001")) == 2


@pytest.mark.parametrize(
    ("checks", "second", "more"),
    [(5, 30, {}), (2000, 0, {}), (2000, 30, {"timestamp": "2031-01-01T00:00:00Z"})],
    ids=["a restart", "no time between", "a clock that jumps"],
)
def test_there_is_no_rate_without_a_true_interval(
    checks: int, second: int, more: dict[str, Any]
) -> None:
    history = History()
    _taken(history, 1000, 0)
    assert _taken(history, checks, second, **more).checks == 0


def test_a_node_that_is_gone_is_forgotten() -> None:
    history = History()
    history.take([entry(1), entry(2)])
    fleet = history.take([entry(2), entry(2), "nonsense"])
    assert list(fleet.nodes) == ["basic-00002"]
    assert fleet.refused == 2  # a double, and a text
    assert history.of("basic-00001") == []

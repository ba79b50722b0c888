"""Searching, counting and judging the nodes of a fleet."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.console.fleet.alerts import of_nodes
from sidecar.console.fleet.fleet import Fleet, History, Rate
from sidecar.console.fleet.nodes import HEALTH
from sidecar.console.fleet.overview import counted
from sidecar.console.fleet.search import SORTS, SearchError, read, search
from tests.console.rig import entry

NOW = 1795867200.0 + 30  # half a minute after the entries' heartbeats
SILENT = 100.0


def fleet(*entries: Any) -> Fleet:
    return History().take(entries)


def found(query: dict[str, str], among: Fleet) -> list[str]:
    return [node.id for node in search(among, read(query)).nodes]


MANY = fleet(*(entry(number, health_status=HEALTH[number % 4]) for number in range(1, 121)))


def test_every_word_must_occur_somewhere() -> None:
    assert found({"q": "BASIC-0000 zone=z1"}, MANY) == [
        f"basic-0000{number}" for number in (1, 4, 7)
    ]
    assert found({"q": "nothing"}, MANY) == []


@pytest.mark.parametrize(
    ("query", "matched"),
    [
        ({}, 120),
        ({"health": "critical"}, 30),
        ({"ready": "true"}, 120),
        ({"ready": "false"}, 0),
        ({"service": "basic-server-3"}, 17),
        ({"digest": "3c9d1f0a52b7e641"}, 120),
        ({"digest": "3c9d"}, 0),
        ({"version": "0.2.0", "health": "healthy"}, 30),
    ],
)
def test_filters_are_exact_and_add_up(query: dict[str, str], matched: int) -> None:
    assert search(MANY, read(query)).matched == matched


@given(
    st.sampled_from(sorted(SORTS)),
    st.sampled_from(["asc", "desc"]),
    st.integers(1, 200),
    st.sampled_from(["", "healthy"]),
)
def test_pages_together_are_all_that_match_once(
    sort: str, order: str, size: int, health: str
) -> None:
    query = {"sort": sort, "order": order, "size": str(size), "health": health}
    first = search(MANY, read(query))
    pages = [search(MANY, read({**query, "page": str(n + 1)})).nodes for n in range(first.pages)]
    ids = [node.id for page in pages for node in page]
    assert len(ids) == len(set(ids)) == first.matched
    keys = [SORTS[sort](MANY.nodes[id_]) for id_ in ids]
    assert keys == sorted(keys, reverse=order == "desc")


def test_a_page_after_the_last_is_the_last() -> None:
    last = search(MANY, read({"page": "999"}))
    assert (last.page, last.pages, len(last.nodes)) == (3, 3, 20)


@pytest.mark.parametrize(
    "query",
    [
        {"q": "x" * 201},
        {"q": "a b c d e f g h i"},
        {"health": "dead"},
        {"ready": "maybe"},
        {"sort": "__class__"},
        {"order": "up"},
        {"page": "0"},
        {"page": "-1"},
        {"page": "²"},
        {"page": "9" * 30},
        {"size": "201"},
        {"service": "x" * 201},
    ],
)
def test_an_invalid_query_is_an_error(query: dict[str, str]) -> None:
    with pytest.raises(SearchError):
        read(query)


def test_the_overview_counts_what_is_there() -> None:
    among = fleet(
        entry(1),
        entry(2, health_status="critical"),
        entry(3, report={"ready": False, "policy_digest": "77aa01d2c3e4f560"}),
        entry(4, last_heartbeat="2026-11-28T11:00:00Z", report={"key_set_age_seconds": 9000}),
    )
    made = counted(among, NOW, SILENT)
    assert made.cluster["nodes"] == 4
    assert made.cluster["by_health"] == {"healthy": 3, "warning": 0, "critical": 1, "unknown": 0}
    assert (made.cluster["ready"], made.cluster["not_ready"]) == (3, 1)
    assert made.cluster["silent"] == 1
    assert made.cluster["oldest_key_set"] == {"seconds": 9000.0, "node": "basic-00004"}
    assert made.cluster["policy_digests"] == [
        {"digest": "3c9d1f0a52b7e641", "nodes": 3},
        {"digest": "77aa01d2c3e4f560", "nodes": 1},
    ]
    assert made.checks["checks_total"] == 4000
    assert made.checks["denial_ratio"] == 0.01
    assert made.performance["check_p99_seconds"]["slowest"] == 0.0002


def codes(among: Fleet, tables: Any = None) -> dict[str, int]:
    return {alert.code: alert.number for alert in of_nodes(among, NOW, SILENT, tables)}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"health_status": "critical"}, "nodes_critical"),
        ({"report": {"ready": False}}, "nodes_not_ready"),
        (
            {
                "last_heartbeat": "2026-11-28T11:00:00Z",
                "report": {"timestamp": "2026-11-28T11:00:00Z"},
            },
            "nodes_silent",
        ),
        ({"report": {"key_set_age_seconds": 3601}}, "old_key_sets"),
        ({"report": {"timestamp": "2026-11-28T13:00:00Z"}}, "clocks_ahead"),
    ],
)
def test_each_fault_of_a_node_is_one_alert(change: dict[str, Any], code: str) -> None:
    assert codes(fleet(entry(1), entry(2, **change))) == {code: 1}


def test_nothing_wrong_is_no_alert() -> None:
    assert codes(fleet(entry(1), entry(2))) == {}


def test_two_policies_of_one_service_are_an_alert_and_of_two_services_none() -> None:
    other = {"policy_digest": "77aa01d2c3e4f560"}
    same: dict[str, Any] = {"service_name": "orders"}
    assert codes(fleet(entry(1, **same), entry(2, **same, report=other))) == {"several_policies": 1}
    assert codes(fleet(entry(1), entry(2, report=other))) == {}


def test_a_policy_that_the_console_lacks_is_an_alert_where_it_has_tables() -> None:
    assert codes(fleet(entry(1)), {"0000000000000000"}) == {"unknown_policies": 1}
    assert codes(fleet(entry(1)), {"3c9d1f0a52b7e641"}) == {}


def test_many_denials_and_refused_entries_are_alerts() -> None:
    among = fleet(entry(1))._replace(rates={"a": Rate(10, 9)}, refused=3)
    assert codes(among) == {"many_denials": 90, "entries_refused": 3}


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([("healthy", True)], "healthy"),
        ([("healthy", True), ("critical", True)], "warning"),
        ([("warning", True)], "warning"),
        ([("healthy", False)], "critical"),
        ([("critical", True), ("critical", True)], "critical"),
        ([("healthy", None)], "critical"),
    ],
)
def test_the_status_of_a_service_follows_its_instances(
    states: list[tuple[str, bool | None]], status: str
) -> None:
    among = fleet(
        *(
            entry(n, service_name="orders", health_status=health, report={"ready": ready})
            for n, (health, ready) in enumerate(states)
        )
    )
    (service,) = counted(among, NOW, SILENT).services
    assert service["status"] == status


def test_counting_grows_linearly() -> None:
    """Ten times the nodes cost about ten times, not a hundred times."""

    def cost(nodes: int) -> float:
        entries = [entry(number) for number in range(nodes)]
        spent = []
        for _ in range(3):
            begin = time.process_time()
            among = fleet(*entries)
            counted(among, NOW, SILENT)
            search(among, read({"q": "basic z1", "sort": "p99"}))
            spent.append(time.process_time() - begin)
        return min(spent)

    assert cost(2000) < 40 * cost(200)

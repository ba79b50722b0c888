"""Metrics: their names and labels, as Prometheus's own parser reads them."""

import math
from collections.abc import Mapping

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from sidecar.core.decision import Allow, Decision, DecisionRecord, Deny, MemoryUse
from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route
from sidecar.ops.exposition import render
from sidecar.ops.metrics import CHECK_BUCKETS, MAX_CHECK_SERIES, OTHER_ROUTES, Metrics

USERS = Route(0, "users", "/api/users/*")


def record(
    decision: Decision, seconds: float = 0.00003, *, cached: bool | None = None
) -> DecisionRecord:
    """Return a record of a decision."""
    return DecisionRecord(0.0, seconds, "", decision, None, "", cached=cached)


def families(metrics: Metrics) -> Mapping[str, Metric]:
    """Scrape."""
    text = render(metrics.values()).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Scrape one metric: its values by the labels' values in alphabetical order of the labels."""
    found = [sample for family in families(metrics).values() for sample in family.samples]
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for sample in found
        if sample.name == name
    }


def test_checks_are_counted_by_decision_reason_and_route() -> None:
    metrics = Metrics("1.0")
    metrics.records([record(Allow(Reason.OK, USERS))] * 3)
    metrics.records([record(Deny(Reason.NO_ROUTE)), record(Deny(Reason.TOKEN_EXPIRED, USERS))])
    assert samples(metrics, "zervi_sidecar_checks_total") == {
        ("allow", "ok", "users"): 3,
        ("deny", "no_route", ""): 1,
        ("deny", "token_expired", "users"): 1,
    }


def test_an_answered_preflight_is_no_denial() -> None:
    """Neither by its label nor in the sum that the registry receives."""
    metrics = Metrics("1.0")
    metrics.records([record(Deny(Reason.PREFLIGHT_ANSWERED, USERS))])
    wanted = {("answer", "preflight_answered", "users"): 1}
    assert samples(metrics, "zervi_sidecar_checks_total") == wanted
    assert metrics.summary()[:2] == (1, 0)


def test_the_histogram_begins_at_ten_microseconds_and_adds_up() -> None:
    metrics = Metrics("1.0")
    for seconds in (0.000005, 0.00001, 0.00003, 0.3, 5.0):
        metrics.records([record(Allow(Reason.OK, USERS), seconds)])
    buckets = {
        float(le): count
        for (le,), count in samples(metrics, "zervi_sidecar_check_seconds_bucket").items()
    }
    assert min(buckets) == 0.00001
    assert buckets[0.00001] == 2
    assert buckets[0.00005] == 3
    assert buckets[0.5] == 4
    assert buckets[1.0] == 4
    assert buckets[math.inf] == 5
    assert samples(metrics, "zervi_sidecar_check_seconds_count") == {(): 5}
    total = samples(metrics, "zervi_sidecar_check_seconds_sum")[()]
    assert total == pytest.approx(5.300045)


def test_the_token_cache_counts_hits_and_misses_and_nothing_else() -> None:
    metrics = Metrics("1.0", token_cache_entries=lambda: 42, token_cache_bytes=lambda: 4242)
    allow = Allow(Reason.OK, USERS)
    metrics.records([record(allow, cached=cached) for cached in (True, True, False, None)])
    assert samples(metrics, "zervi_sidecar_token_cache_requests_total") == {
        ("hit",): 2,
        ("miss",): 1,
    }
    assert samples(metrics, "zervi_sidecar_token_cache_entries") == {(): 42}
    assert samples(metrics, "zervi_sidecar_token_cache_bytes") == {(): 4242}


def test_key_sets_are_told_by_issuer() -> None:
    metrics = Metrics("1.0")
    metrics.jwks_refresh("https://zervi", "success")
    metrics.jwks_refresh("https://zervi", "failure")
    metrics.jwks_refresh("https://zervi", "failure")
    metrics.jwks_keys("https://zervi", 2, 1795298400.5)
    assert samples(metrics, "zervi_sidecar_jwks_refreshes_total") == {
        ("https://zervi", "success"): 1,
        ("https://zervi", "failure"): 2,
    }
    assert samples(metrics, "zervi_sidecar_jwks_keys") == {("https://zervi",): 2}
    assert samples(metrics, "zervi_sidecar_jwks_last_success_timestamp_seconds") == {
        ("https://zervi",): 1795298400.5
    }


def test_the_policy_tells_which_one_runs_and_its_reloads() -> None:
    metrics = Metrics("1.0")
    assert samples(metrics, "zervi_sidecar_policy_info") == {}
    assert samples(metrics, "zervi_sidecar_policy_reloads_total") == {
        ("success",): 0,
        ("failure",): 0,
    }
    metrics.policy_loaded("sha256:old", 1.0)
    metrics.policy_reload("success")
    metrics.policy_loaded("sha256:new", 2.0)
    metrics.policy_reload("failure")
    assert samples(metrics, "zervi_sidecar_policy_info") == {("sha256:new",): 1}
    assert samples(metrics, "zervi_sidecar_policy_last_success_timestamp_seconds") == {(): 2.0}
    assert samples(metrics, "zervi_sidecar_policy_reloads_total") == {
        ("success",): 1,
        ("failure",): 1,
    }
    assert metrics.policy_generation == 2


def test_the_registry_and_the_upstream_are_told_where_there_are_any() -> None:
    metrics = Metrics("1.0")
    assert samples(metrics, "zervi_sidecar_looma_registered") == {}
    assert samples(metrics, "zervi_sidecar_upstream_state") == {}
    metrics.looma_request("register", "success")
    metrics.looma_registered(True)
    metrics.upstream_state("warning")
    assert samples(metrics, "zervi_sidecar_looma_requests_total") == {("register", "success"): 1}
    assert samples(metrics, "zervi_sidecar_looma_registered") == {(): 1}
    assert samples(metrics, "zervi_sidecar_upstream_state") == {
        ("unknown",): 0,
        ("healthy",): 0,
        ("warning",): 1,
        ("critical",): 0,
    }


def test_readiness_and_dropped_lines_are_asked_for_at_each_scrape() -> None:
    dropped = 0
    metrics = Metrics(
        "1.0",
        ready=lambda: {"policy": True, "issuer:zervi": False},
        decision_log_dropped=lambda: dropped,
    )
    assert samples(metrics, "zervi_sidecar_ready") == {("policy",): 1, ("issuer:zervi",): 0}
    assert samples(metrics, "zervi_sidecar_decision_log_dropped_total") == {(): 0}
    dropped = 7
    assert samples(metrics, "zervi_sidecar_decision_log_dropped_total") == {(): 7}


def test_every_metric_has_its_type_and_labels() -> None:
    metrics = Metrics("1.0", ready=lambda: {"policy": True})
    remembered = MemoryUse(1, (("users", 1),))
    metrics.records([record(Allow(Reason.OK, USERS))._replace(memory_use=remembered)])
    metrics.jwks_refresh("zervi", "success")
    metrics.jwks_keys("zervi", 1, 1.0)
    metrics.look_up("permissions", "answered")
    metrics.look_up_sizes = lambda: {"permissions": (1, 700, 0)}
    metrics.policy_loaded("digest", 1.0)
    metrics.shadow_decision("users", "ok", "public")
    metrics.looma_request("register", "success")
    metrics.looma_registered(True)
    metrics.upstream_state("healthy")
    metrics.trace_spans("sent", 1)
    found = {
        family.name.removeprefix("zervi_sidecar_"): (
            family.type,
            *sorted({label for sample in family.samples for label in sample.labels}),
        )
        for family in families(metrics).values()
        if family.name.startswith("zervi_sidecar_")
    }
    assert found == {
        "build_info": ("gauge", "version"),
        "checks": ("counter", "decision", "reason", "route"),
        "check_seconds": ("histogram", "le"),
        "token_cache_requests": ("counter", "result"),
        "trace_spans": ("counter", "result"),
        "token_cache_entries": ("gauge",),
        "token_cache_bytes": ("gauge",),
        "jwks_refreshes": ("counter", "issuer", "result"),
        "jwks_keys": ("gauge", "issuer"),
        "jwks_last_success_timestamp_seconds": ("gauge", "issuer"),
        "look_ups": ("counter", "result", "source"),
        "look_up_answers": ("gauge", "source"),
        "look_up_bytes": ("gauge", "source"),
        "policy_reloads": ("counter", "result"),
        "policy_last_success_timestamp_seconds": ("gauge",),
        "policy_info": ("gauge", "digest"),
        "looma_requests": ("counter", "operation", "result"),
        "looma_registered": ("gauge",),
        "upstream_state": ("gauge", "state"),
        "ready": ("gauge", "component"),
        "decision_log_dropped": ("counter",),
        "remembered": ("counter", "route"),
        "shadow_decisions": ("counter", "active", "route", "shadow"),
    }


def test_requests_that_envoy_answered_from_memory_are_counted_by_route() -> None:
    metrics = Metrics("1.0")
    told = (("users", 3), ("orders", 1)), (("users", 2),)
    metrics.records(
        [record(Allow(Reason.OK, USERS))._replace(memory_use=MemoryUse(0, t)) for t in told]
    )
    many = MemoryUse(0, tuple((f"route-{number}", 1) for number in range(MAX_CHECK_SERIES)))
    metrics.records([record(Allow(Reason.OK, USERS))._replace(memory_use=many)])
    counts = metrics.values().remembered
    assert counts[("users",)] == 5
    assert counts[("orders",)] == 1
    assert counts[(OTHER_ROUTES,)] == 2
    assert len(counts) == MAX_CHECK_SERIES + 1


def test_the_process_is_measured_too() -> None:
    found = families(Metrics("1.0"))
    assert found["process_resident_memory_bytes"].samples[0].value > 0
    assert "process_cpu_seconds" in found


def test_routes_without_end_make_a_bounded_number_of_series() -> None:
    metrics = Metrics("1.0")
    for number in range(MAX_CHECK_SERIES + 500):
        route = Route(number, f"route-{number}", "/")
        metrics.records([record(Allow(Reason.OK, route)), record(Deny(Reason.NO_ROUTE))])
    found = samples(metrics, "zervi_sidecar_checks_total")
    assert len(found) <= MAX_CHECK_SERIES + 2 * len(Reason)
    assert sum(found.values()) == 2 * (MAX_CHECK_SERIES + 500)
    assert found["allow", "ok", OTHER_ROUTES] >= 500
    assert found["deny", "no_route", ""] == MAX_CHECK_SERIES + 500


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a{b}=c,", "订单", ""])
def test_any_label_is_escaped(name: str) -> None:
    metrics = Metrics("1.0")
    metrics.records([record(Allow(Reason.OK, Route(0, name, "/")))])
    assert samples(metrics, "zervi_sidecar_checks_total") == {("allow", "ok", name): 1}


def test_what_was_scraped_does_not_change_afterwards() -> None:
    metrics = Metrics("1.0")
    metrics.records([record(Deny(Reason.NO_ROUTE))])
    before = metrics.values()
    metrics.records([record(Deny(Reason.NO_ROUTE))] * 10)
    metrics.jwks_refresh("zervi", "success")
    assert b'reason="no_route",route=""} 1.0' in render(before)
    assert b"zervi_sidecar_jwks_refreshes_total{" not in render(before)


def test_the_summary_tells_checks_denials_and_the_99th_percentile() -> None:
    metrics = Metrics("1.0")
    assert metrics.summary() == (0, 0, None)
    metrics.records([record(Allow(Reason.OK, USERS), 0.00002)] * 98)
    metrics.records([record(Deny(Reason.NO_ROUTE), 0.002)] * 2)
    checks, denials, p99 = metrics.summary()
    assert (checks, denials) == (100, 2)
    assert p99 is not None
    assert 0.001 < p99 <= 0.0025


def test_a_percentile_beyond_the_last_bucket_is_its_bound() -> None:
    metrics = Metrics("1.0")
    metrics.records([record(Allow(Reason.OK, USERS), 30.0)] * 10)
    assert metrics.summary()[2] == CHECK_BUCKETS[-1]

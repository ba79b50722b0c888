"""The metrics in Prometheus's text format.

Imported at the first scrape, and run in a thread: rendering thousands of series takes a while.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sidecar.ops.metrics import CHECK_BUCKETS, UPSTREAM_STATES, RevocationValues, Values

if TYPE_CHECKING:
    from sidecar.ops.gateway_metrics import GatewayValues

_Labels = TypeVar("_Labels", bound=tuple[str, ...])

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4  # every scraper accepts it: no negotiation


def render(values: Values) -> bytes:
    """Render every metric, including those of the process."""
    return generate_latest(_Collector(values))


class _Collector(Collector):
    """Passes the values to prometheus_client with names, help texts and labels."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterable[Metric]:
        values = self._values
        yield _gauge("build_info", "The running version.", ["version"], {(values.version,): 1})
        yield from _checks(values)
        yield from _jwks(values)
        yield from _look_ups(values)
        yield from _policy(values)
        yield from _registry(values)
        if values.gateway is not None:
            yield from _gateway(values.gateway)
        if values.revocation is not None:
            yield from _revocation(values.revocation)
        yield _gauge(
            "ready",
            "Whether a component is usable.",
            ["component"],
            {(name,): ready for name, ready in values.ready.items()},
        )
        yield _counter(
            "decision_log_dropped",
            "Decisions missing in the decision log: standard output was too slow.",
            [],
            {(): values.decision_log_dropped},
        )
        yield _counter(
            "trace_spans",
            "Spans, by result: sent to the collector, failed there, dropped before.",
            ["result"],
            {(result,): count for result, count in values.trace_spans.items()},
        )
        yield from ProcessCollector(registry=None).collect()


def _checks(values: Values) -> Iterator[Metric]:
    yield _counter(
        "checks",
        "Decisions, by decision, reason and route.",
        ["decision", "reason", "route"],
        values.checks,
    )
    bounds = [*(str(bound) for bound in CHECK_BUCKETS), "+Inf"]
    yield HistogramMetricFamily(
        "zervi_sidecar_check_seconds",
        "Duration of a Check, from message to response.",
        buckets=list(zip(bounds, accumulate(values.check_buckets), strict=True)),
        sum_value=values.check_seconds,
    )
    yield _counter(
        "token_cache_requests",
        "Lookups in the cache of verified tokens, by result.",
        ["result"],
        {("hit",): values.token_cache_hits, ("miss",): values.token_cache_misses},
    )
    yield _gauge(
        "token_cache_entries",
        "Tokens in the cache of verified tokens.",
        [],
        {(): values.token_cache_entries},
    )
    yield _gauge(
        "token_cache_bytes",
        "Estimated memory of the cache of verified tokens.",
        [],
        {(): values.token_cache_bytes},
    )


def _jwks(values: Values) -> Iterator[Metric]:
    yield _counter(
        "jwks_refreshes",
        "Fetches of an issuer's key set, by result.",
        ["issuer", "result"],
        values.jwks_refreshes,
    )
    yield _gauge(
        "jwks_keys",
        "Usable keys in an issuer's key set.",
        ["issuer"],
        {(issuer,): keys for issuer, keys in values.jwks_keys.items()},
    )
    yield _gauge(
        "jwks_last_success_timestamp_seconds",
        "Time of the last successful fetch of an issuer's key set.",
        ["issuer"],
        {(issuer,): at for issuer, at in values.jwks_last_success.items()},
    )


def _look_ups(values: Values) -> Iterator[Metric]:
    yield _counter(
        "look_ups",
        "Questions to Zervi for permissions and verdicts on tokens, by result.",
        ["source", "result"],
        values.look_ups,
    )
    sizes = values.look_up_sizes.items()
    yield _gauge(
        "look_up_answers",
        "Remembered answers to look-ups.",
        ["source"],
        {(source,): entries for source, (entries, _, _) in sizes},
    )
    yield _gauge(
        "look_up_bytes",
        "Estimated memory of the remembered answers to look-ups.",
        ["source"],
        {(source,): size for source, (_, size, _) in sizes},
    )


def _policy(values: Values) -> Iterator[Metric]:
    yield _counter(
        "policy_reloads",
        "Reloads of the policy, by result.",
        ["result"],
        {(result,): count for result, count in values.policy_reloads.items()},
    )
    if values.policy_digest is not None and values.policy_last_success is not None:
        yield _gauge(
            "policy_last_success_timestamp_seconds",
            "Time of the last successful load of the policy.",
            [],
            {(): values.policy_last_success},
        )
        digest = (values.policy_digest,)
        yield _gauge("policy_info", "The policy in force.", ["digest"], {digest: 1})
    yield _counter(
        "shadow_decisions",
        "Requests that a candidate policy decides differently, by route and both reasons.",
        ["route", "active", "shadow"],
        values.shadow_decisions,
    )
    yield _counter(
        "remembered",
        "Requests that Envoy answered from its memory of allows, by route.",
        ["route"],
        values.remembered,
    )


def _registry(values: Values) -> Iterator[Metric]:
    yield _counter(
        "looma_requests",
        "Calls to the registry, by operation and result.",
        ["operation", "result"],
        values.looma_requests,
    )
    if values.looma_registered is not None:
        yield _gauge(
            "looma_registered",
            "Whether this instance is registered.",
            [],
            {(): values.looma_registered},
        )
    if values.upstream_state is not None:
        yield _gauge(
            "upstream_state",
            "State of the Basic Server as probed: 1 for the current state, 0 for the others.",
            ["state"],
            {(state,): state == values.upstream_state for state in UPSTREAM_STATES},
        )


def _gateway(values: "GatewayValues") -> Iterator[Metric]:
    yield _gauge(
        "gateway_instances",
        "Instances of a target, by health.",
        ["target", "health"],
        values.instances,
    )
    yield _counter(
        "gateway_picks",
        "Allowed requests, by target: placed, left to Envoy (any), denied without instance (none).",
        ["target", "result"],
        values.picks,
    )
    yield _gauge(
        "gateway_users",
        "Different users that an instance was named first for, in the last whole minute.",
        ["target", "server"],  # Prometheus itself sets the label `instance`
        values.users,
    )
    if values.directory_age is not None:
        yield _gauge(
            "gateway_directory_age_seconds",
            "Time since the registry last answered.",
            [],
            {(): values.directory_age},
        )
    yield _counter(
        "gateway_refused_entries",
        "Entries in the registry's answers that were not used.",
        [],
        {(): values.refused},
    )
    yield _counter(
        "gateway_files", "Envoy's files, by result of writing them.", ["result"], values.files
    )


def _revocation(values: RevocationValues) -> Iterator[Metric]:
    yield _gauge(
        "revocation_entries", "Entries of the feed of revocations.", [], {(): values.entries}
    )
    yield _gauge("revocation_bytes", "Memory of these entries.", [], {(): values.bytes})
    if values.age is not None:
        yield _gauge(
            "revocation_age_seconds",
            "Time since the latest good reading of the feed of revocations.",
            [],
            {(): values.age},
        )
    yield _counter(
        "revocation_readings",
        "Readings of the feed of revocations, by result.",
        ["result"],
        {(result,): count for result, count in values.readings.items()},
    )


def _counter(name: str, help_text: str, labels: list[str], counts: Mapping[_Labels, int]) -> Metric:
    family = CounterMetricFamily(f"zervi_sidecar_{name}", help_text, labels=labels)
    for key, count in counts.items():
        family.add_metric(key, count)
    return family


def _gauge(
    name: str, help_text: str, labels: list[str], numbers: Mapping[_Labels, float]
) -> Metric:
    family = GaugeMetricFamily(f"zervi_sidecar_{name}", help_text, labels=labels)
    for key, number in numbers.items():
        family.add_metric(key, number)
    return family

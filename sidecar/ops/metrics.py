"""Metrics: counted in plain dicts and lists on the event loop, rendered at a scrape."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sidecar.core.decision import Allow, DecisionRecord, MemoryUse, outcome
from sidecar.core.reasons import Reason

if TYPE_CHECKING:
    from sidecar.ops.gateway_metrics import GatewayValues

# Seconds. A cached Check takes tens of microseconds, one that waits for a key up to a second.
CHECK_BUCKETS = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

# A route's name is a label, and there may be 10,000 routes with several reasons each, and others
# after a reload. Further series are counted under OTHER_ROUTES.
MAX_CHECK_SERIES = 5000
OTHER_ROUTES = "(other)"

UPSTREAM_STATES = ("unknown", "healthy", "warning", "critical")

_Key = TypeVar("_Key")


class RevocationValues(NamedTuple):
    """The feed of revocations: entries, their bytes, and its age in seconds (None: never read)."""

    entries: int
    bytes: int
    age: float | None
    readings: Mapping[str, int]


@dataclass(slots=True)
class Values:
    """All values at one instant; ``sidecar.ops.exposition`` names them."""

    version: str
    checks: dict[tuple[str, Reason, str], int] = field(default_factory=dict)
    check_buckets: list[int] = field(default_factory=lambda: [0] * (len(CHECK_BUCKETS) + 1))
    check_seconds: float = 0.0
    token_cache_hits: int = 0
    token_cache_misses: int = 0
    token_cache_entries: int = 0
    token_cache_bytes: int = 0
    jwks_refreshes: dict[tuple[str, str], int] = field(default_factory=dict)
    jwks_keys: dict[str, int] = field(default_factory=dict)
    jwks_last_success: dict[str, float] = field(default_factory=dict)
    policy_reloads: dict[str, int] = field(default_factory=lambda: {"success": 0, "failure": 0})
    policy_last_success: float | None = None
    policy_digest: str | None = None
    policy_generation: int = 0
    shadow_decisions: dict[tuple[str, str, str], int] = field(default_factory=dict)
    remembered: dict[tuple[str], int] = field(default_factory=dict)
    looma_requests: dict[tuple[str, str], int] = field(default_factory=dict)
    looma_registered: bool | None = None
    upstream_state: str | None = None
    ready: Mapping[str, bool] = field(default_factory=dict)
    decision_log_dropped: int = 0
    look_ups: dict[tuple[str, str], int] = field(default_factory=dict)
    look_up_sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    trace_spans: dict[str, int] = field(default_factory=dict)
    gateway: "GatewayValues | None" = None
    revocation: RevocationValues | None = None


class Metrics:
    """Counts events. Call its methods on the event loop; none of them waits.

    The callables return values that other objects count, at each scrape: the token cache's entries
    and bytes, whether each component is usable, the decisions that were not logged; ``gateway`` and
    ``revocation`` are set where there is one, and ``look_up_sizes`` (answers, their bytes, and
    how many are stale, by source) where there are any.
    """

    def __init__(
        self,
        version: str,
        *,
        token_cache_entries: Callable[[], int] = lambda: 0,
        token_cache_bytes: Callable[[], int] = lambda: 0,
        ready: Callable[[], Mapping[str, bool]] = dict,
        decision_log_dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        self._values = Values(version)
        self._token_cache_entries = token_cache_entries
        self._token_cache_bytes = token_cache_bytes
        self._ready = ready
        self._decision_log_dropped = decision_log_dropped
        self.gateway: Callable[[], GatewayValues] | None = None
        self.look_up_sizes: Callable[[], Mapping[str, tuple[int, int, int]]] = dict
        self.revocation: Callable[[], RevocationValues | None] | None = None

    def records(self, records: Sequence[DecisionRecord]) -> None:
        """Count decisions."""
        values = self._values
        checks, buckets = values.checks, values.check_buckets
        total, hits = values.check_seconds, values.token_cache_hits
        for record in records:
            decision, seconds = record.decision, record.seconds
            route = decision.route
            # Most are allows: they are recognised without a call.
            word = "allow" if isinstance(decision, Allow) else outcome(decision)
            key = (word, decision.reason, "" if route is None else route.name)
            known = checks.get(key, 0)
            if known or len(checks) < MAX_CHECK_SERIES or not key[2]:
                checks[key] = known + 1
            else:
                _count(checks, (key[0], key[1], OTHER_ROUTES))
            buckets[bisect_left(CHECK_BUCKETS, seconds)] += 1
            total += seconds
            cached = record.cached
            if cached:
                hits += 1
            elif cached is not None:
                values.token_cache_misses += 1
            if record.memory_use is not None:
                self._remembered(record.memory_use)
        values.check_seconds, values.token_cache_hits = total, hits

    def jwks_refresh(self, issuer: str, result: str) -> None:
        """Count a fetch of an issuer's keys by its result: success, not_modified, failure."""
        _count(self._values.jwks_refreshes, (issuer, result))

    def jwks_keys(self, issuer: str, keys: int, fetched_at: float) -> None:
        """Set an issuer's number of keys and when they were fetched (seconds since the epoch)."""
        self._values.jwks_keys[issuer] = keys
        self._values.jwks_last_success[issuer] = fetched_at

    def keep_issuers(self, issuers: AbstractSet[str]) -> None:
        """Show the keys of these issuers only: others were removed, or their source was."""
        values = self._values
        for shown in (values.jwks_keys, values.jwks_last_success):
            for issuer in shown.keys() - issuers:
                del shown[issuer]

    def policy_reload(self, result: str) -> None:
        """Count a reload of the policy by its result: success, failure."""
        _count(self._values.policy_reloads, result)

    def policy_loaded(self, digest: str, at: float) -> None:
        """Set the policy in force since ``at`` (seconds since the epoch)."""
        self._values.policy_generation += 1
        self._values.policy_digest = digest
        self._values.policy_last_success = at

    def shadow_decision(self, route: str, active: str, shadow: str) -> None:
        """Count a request that a candidate decides differently: the route, both reasons."""
        counts = self._values.shadow_decisions
        key = (route, active, shadow)
        if key not in counts and len(counts) >= MAX_CHECK_SERIES and route:
            key = (OTHER_ROUTES, active, shadow)
        _count(counts, key)

    def look_up(self, source: str, result: str) -> None:
        """Count a look-up by its source and result: answered, none, failed, overloaded."""
        _count(self._values.look_ups, (source, result))

    def _remembered(self, use: MemoryUse) -> None:
        """Count requests that Envoy answered from memory."""
        counts = self._values.remembered
        for route, count in use.routes:
            known = (route,) in counts or len(counts) < MAX_CHECK_SERIES
            _count(counts, (route if known else OTHER_ROUTES,), count)

    def looma_request(self, operation: str, result: str) -> None:
        """Count a call to the registry by operation and result."""
        _count(self._values.looma_requests, (operation, result))

    def looma_registered(self, registered: bool | None) -> None:
        """Set whether this instance is registered; None: there is no registry."""
        self._values.looma_registered = registered

    def upstream_state(self, state: str | None) -> None:
        """Set the upstream's state as probed, one of ``UPSTREAM_STATES``; None: not probed."""
        self._values.upstream_state = state

    def trace_spans(self, result: str, spans: int) -> None:
        """Count spans by their result: sent, failed, dropped."""
        counts = self._values.trace_spans
        counts[result] = counts.get(result, 0) + spans

    @property
    def policy_generation(self) -> int:
        """The number of policies in force since the start."""
        return self._values.policy_generation

    def summary(self) -> tuple[int, int, float | None]:
        """Return checks, denials and the 99th percentile of a Check in seconds since the start."""
        denials = sum(count for key, count in self._values.checks.items() if key[0] == "deny")
        buckets = self._values.check_buckets
        return sum(buckets), denials, quantile(0.99, buckets)

    @property
    def check_buckets(self) -> tuple[int, ...]:
        """Checks by their duration, per bucket of ``CHECK_BUCKETS`` and above the last."""
        return tuple(self._values.check_buckets)

    def values(self) -> Values:
        """Copy all values, for rendering in a thread."""
        now = self._values
        return Values(
            version=now.version,
            checks=now.checks.copy(),
            check_buckets=now.check_buckets.copy(),
            check_seconds=now.check_seconds,
            token_cache_hits=now.token_cache_hits,
            token_cache_misses=now.token_cache_misses,
            token_cache_entries=self._token_cache_entries(),
            token_cache_bytes=self._token_cache_bytes(),
            jwks_refreshes=now.jwks_refreshes.copy(),
            jwks_keys=now.jwks_keys.copy(),
            jwks_last_success=now.jwks_last_success.copy(),
            policy_reloads=now.policy_reloads.copy(),
            policy_last_success=now.policy_last_success,
            policy_digest=now.policy_digest,
            policy_generation=now.policy_generation,
            shadow_decisions=now.shadow_decisions.copy(),
            remembered=now.remembered.copy(),
            looma_requests=now.looma_requests.copy(),
            looma_registered=now.looma_registered,
            upstream_state=now.upstream_state,
            ready=self._ready(),
            decision_log_dropped=self._decision_log_dropped(),
            look_ups=now.look_ups.copy(),
            look_up_sizes=self.look_up_sizes(),
            trace_spans=now.trace_spans.copy(),
            gateway=None if self.gateway is None else self.gateway(),
            revocation=None if self.revocation is None else self.revocation(),
        )


def _count(counts: dict[_Key, int], key: _Key, more: int = 1) -> None:
    counts[key] = counts.get(key, 0) + more


def quantile(share: float, buckets: Sequence[int]) -> float | None:
    """Estimate a quantile by linear interpolation in its bucket, as Prometheus does."""
    rank = share * sum(buckets)
    if not rank:
        return None
    below, lower = 0, 0.0
    for count, upper in zip(buckets, CHECK_BUCKETS, strict=False):
        if below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below, lower = below + count, upper
    return lower

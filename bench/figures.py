"""The figures that the project promises, each with its goal. Ratios depend least on the machine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench import crowd, envoys, golang, offline, reloads, remembering
from bench.imports import Import
from bench.look_ups import Ratio
from bench.offline import Offline
from bench.rounds import Row, Spread
from bench.sections import (
    CACHED,
    CONNECTIONS,
    DENIED,
    FEW_IN_FLIGHT,
    GATEWAY,
    GRPCIO,
    H2,
    MANY_ROUTES,
    NEW,
    NO_GATEWAY,
    NO_SHADOW,
    NO_TRACES,
    REPEATED,
    SHADOWS,
    TABLES,
    TRACES,
    Footprint,
    before_name,
)


@dataclass
class Results:
    """All measurements of one run; a skipped section is empty."""

    rows: list[Row] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    look_ups: list[Ratio] = field(default_factory=list)
    offline: list[Offline] = field(default_factory=list)
    signature: float | None = None  # microseconds of one bare verification

    def row(self, section: str, name: str, concurrency: int) -> Row:
        """Find a measured row. Raises LookupError if it was not measured."""
        wanted = (section, name, concurrency)
        for row in self.rows:
            if (row.section, row.name, row.concurrency) == wanted:
                return row
        raise LookupError(wanted)

    def footprint(self, name: str) -> Footprint:
        """Find a sidecar's footprint. Raises LookupError if it was not measured."""
        for footprint in self.footprints:
            if footprint.name == name:
                return footprint
        raise LookupError(name)


class Figure(NamedTuple):
    """One measured value, with its goal: at most or at least."""

    name: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def goal(self) -> str:
        """The goal as text, empty if there is none."""
        if self.most is not None:
            return f"at most {self.most:g}"
        return "" if self.least is None else f"at least {self.least:g}"

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if there is none."""
        if self.most is not None:
            return self.value <= self.most
        return None if self.least is None else self.value >= self.least


def figures(results: Results) -> list[Figure]:
    """Return the figures whose inputs were all measured."""
    return list(_present(results))


def _present(results: Results) -> Iterator[Figure]:
    for make in _FIGURES:
        try:
            yield from make(results)
        except LookupError:
            continue


def _cpu(row: Row) -> Spread:
    return row.cpu["sidecar"]


def _through_envoy(results: Results) -> Iterable[Figure]:
    grpcio = results.row("through Envoy", GRPCIO.name, CONNECTIONS)
    h2 = results.row("through Envoy", H2.name, CONNECTIONS)
    envoy_only = results.row("through Envoy", envoys.NO_AUTH, CONNECTIONS)
    yield Figure("CPU per check through Envoy, h2 ÷ grpcio", _cpu(h2).over(_cpu(grpcio)), most=0.1)
    yield Figure("CPU per check through Envoy, h2", _cpu(h2).median, "µs", most=30)
    yield Figure("CPU per check through Envoy, grpcio", _cpu(grpcio).median, "µs")
    yield Figure(
        "requests per second through Envoy, h2 ÷ grpcio",
        h2.rate.over(grpcio.rate),
        least=1.6,
    )
    yield Figure(
        "requests per second through Envoy, h2 ÷ Envoy with no auth",
        h2.rate.over(envoy_only.rate),
    )


def _go(results: Results) -> Iterable[Figure]:
    h2 = results.row("through Envoy", H2.name, CONNECTIONS)
    go = results.row("through Envoy", golang.NAME, CONNECTIONS)
    yield Figure(
        f"CPU per check through Envoy, h2 ÷ {golang.NAME}", _cpu(h2).over(_cpu(go)), most=1
    )
    rate = h2.rate.over(go.rate)
    yield Figure(f"requests per second through Envoy, h2 ÷ {golang.NAME}", rate, least=0.85)


def _latency(results: Results) -> Iterable[Figure]:
    envoy_only = results.row("through Envoy", envoys.NO_AUTH, 1).p50.median
    grpcio = results.row("through Envoy", GRPCIO.name, 1).p50.median - envoy_only
    h2 = results.row("through Envoy", H2.name, 1).p50.median - envoy_only
    yield Figure("latency added at one connection, h2 ÷ grpcio", h2 / grpcio, most=0.65)
    yield Figure("latency added at one connection, h2", h2, "µs")


def _natives(results: Results) -> Iterable[Figure]:
    def whole(name: str) -> float:
        row = results.row("through Envoy", name, CONNECTIONS)
        return sum(spread.median for spread in row.cpu.values())

    h2 = whole(H2.name)
    for name in (envoys.NATIVE, envoys.NATIVE_CACHED):
        yield Figure(f"CPU per request, Envoy and sidecar, h2 ÷ {name}", h2 / whole(name))


def _direct(results: Results) -> Iterable[Figure]:
    h2, grpcio = (results.row("direct", kind.name, 64) for kind in (H2, GRPCIO))
    yield Figure("CPU per check called directly, h2 ÷ grpcio", _cpu(h2).over(_cpu(grpcio)))


def _tokens(results: Results) -> Iterable[Figure]:
    repeated = results.row("tokens", REPEATED, CONNECTIONS)
    cached = results.row("tokens", CACHED, CONNECTIONS)
    new = results.row("tokens", NEW, CONNECTIONS)
    if results.signature is not None:
        floor = results.signature + _cpu(cached).median
        ratio = _cpu(new).median / floor
        yield Figure(f"{NEW} ÷ (bare signature + cached token)", ratio, most=1.15)
    yield Figure(f"CPU per check, {CACHED} ÷ {REPEATED}", _cpu(cached).over(_cpu(repeated)))
    for name in DENIED:
        denied = results.row("tokens", name, CONNECTIONS)
        yield Figure(f"CPU per check, {name} ÷ allowed", _cpu(denied).over(_cpu(cached)))


def _against(results: Results) -> Iterable[Figure]:
    for name in (REPEATED, CACHED, NEW):
        now, then = (
            results.row("against", each, CONNECTIONS) for each in (name, before_name(name))
        )
        yield Figure(f"CPU per check, {name}, now ÷ before", _cpu(now).over(_cpu(then)))
        rate = now.rate.over(then.rate)
        yield Figure(f"requests per second, {name}, now ÷ before", rate)


def _footprint_against(results: Results) -> Iterable[Figure]:
    for name in (H2.name, MANY_ROUTES.name):
        now, then = (results.footprint(each) for each in (name, before_name(name)))
        rss = now.idle.over(then.idle)
        yield Figure(f"memory (RSS) when ready, {name}, now ÷ before", rss)
        ready = now.ready.over(then.ready)
        yield Figure(f"start to ready, {name}, now ÷ before", ready)
        cpu = now.ready_cpu.over(then.ready_cpu)
        yield Figure(f"start to ready, CPU time, {name}, now ÷ before", cpu)


def _routes(results: Results) -> Iterable[Figure]:
    few, *_, many = (results.row("routes", f"{number:,} routes", CONNECTIONS) for number in TABLES)
    yield Figure(f"CPU per check, {many.name} ÷ {few.name}", _cpu(many).over(_cpu(few)), most=1.15)


def _shadow(results: Results) -> Iterable[Figure]:
    without = results.row("shadow", NO_SHADOW, CONNECTIONS)
    for percent in SHADOWS:
        row = results.row("shadow", f"shadow of {percent} %", CONNECTIONS)
        yield Figure(f"CPU per check, {row.name} ÷ {NO_SHADOW}", _cpu(row).over(_cpu(without)))


def _traces(results: Results) -> Iterable[Figure]:
    without, traced = (results.row("traces", name, CONNECTIONS) for name in (NO_TRACES, TRACES))
    yield Figure(
        f"CPU per check, {TRACES} ÷ {NO_TRACES}", _cpu(traced).over(_cpu(without)), most=1.02
    )


def _gateway(results: Results) -> Iterable[Figure]:
    without, placed = (results.row("gateway", name, CONNECTIONS) for name in (NO_GATEWAY, GATEWAY))
    yield Figure(
        f"CPU per check, {GATEWAY} ÷ {NO_GATEWAY}", _cpu(placed).over(_cpu(without)), most=1.15
    )


def _gateway_memory(results: Results) -> Iterable[Figure]:
    plain, placed = results.footprint(H2.name), results.footprint(GATEWAY)
    more = placed.idle.median - plain.idle.median
    yield Figure(f"memory (RSS) when ready, {GATEWAY} − {H2.name}", more, "MiB", most=30)


def _looma(results: Results) -> Iterable[Figure]:
    without = results.row("Looma", "no registry", FEW_IN_FLIGHT)
    for name in ("Looma answers", "Looma refuses", "Looma never answers"):
        row = results.row("Looma", name, FEW_IN_FLIGHT)
        yield Figure(f"p99 of a check, {name} ÷ no registry", row.p99.over(without.p99))


def _flood(results: Results) -> Iterable[Figure]:
    without = results.row("flood", crowd.NONE, crowd.CONNECTIONS).p99
    for name, most in ((crowd.MADE_UP, 2), (crowd.GOOD, None)):
        p99 = results.row("flood", name, crowd.CONNECTIONS).p99.over(without)
        yield Figure(f"p99 of valid requests, {name} ÷ {crowd.NONE}", p99, most=most)


def _reload(results: Results) -> Iterable[Figure]:
    at_rest = results.row("reload", reloads.AT_REST, crowd.CONNECTIONS).p99
    p99 = results.row("reload", reloads.RELOADING, crowd.CONNECTIONS).p99
    yield Figure(f"p99 of requests, {reloads.RELOADING} ÷ {reloads.AT_REST}", p99.over(at_rest))
    yield Figure(f"p99 of requests, {reloads.RELOADING}", p99.median / 1000, "ms")


def _remember(results: Results) -> Iterable[Figure]:
    def row(name: str, connections: int) -> Row:
        return results.row(remembering.SECTION, name, connections)

    native, remembers = envoys.NATIVE_CACHED, remembering.REMEMBERS
    one, *several = remembering.CONNECTIONS
    for connections in several:
        rate = row(remembers, connections).rate.over(row(native, connections).rate)
        name = f"requests per second, {connections} connections, Envoy remembers ÷ {native}"
        yield Figure(name, rate, least=0.9)
    p50 = row(remembers, one).p50.over(row(native, one).p50)
    yield Figure(f"p50 at one connection, Envoy remembers ÷ {native}", p50, most=1.3)
    for connections in several:
        mixed = row(remembering.mixed_name(remembers), connections).rate
        for name in (H2.name, native):
            rate = mixed.over(row(remembering.mixed_name(name), connections).rate)
            shown = f"{remembering.MIXED}, {connections} connections, Envoy remembers ÷ {name}"
            yield Figure(f"requests per second, {shown}", rate)
    beside = remembering.BESIDE_CONNECTIONS
    asks = row(remembering.flooded_name(H2.name), beside).p50
    p50 = row(remembering.flooded_name(remembers), beside).p50.over(asks)
    yield Figure(f"p50 {remembering.FLOODED}, Envoy remembers ÷ {H2.name}", p50, most=1)


def _footprint(results: Results) -> Iterable[Figure]:
    h2 = results.footprint(H2.name)
    yield Figure("memory (RSS) when ready, h2", h2.idle.median, "MiB", most=60)
    yield Figure("memory (RSS) after load, h2", h2.loaded.median, "MiB")
    yield Figure("start to ready, h2", h2.ready.median, "s", most=0.8)
    yield Figure("start to ready, CPU time, h2", h2.ready_cpu.median, "s")
    many = results.footprint(MANY_ROUTES.name)
    yield Figure(f"memory (RSS) when ready, {many.name}", many.idle.median, "MiB")


def _look_ups(results: Results) -> Iterable[Figure]:
    for each in results.look_ups:
        name = f"CPU per check, {each.name}, permissions looked up before ÷ in the token"
        yield Figure(name, each.value, most=1.1)


def _offline(results: Results) -> Iterable[Figure]:
    goals = {offline.CHECK: 5.0, offline.REPLAY: 120.0}
    for each in results.offline:
        yield Figure(each.name, each.seconds, "s", most=goals[each.name])
        yield Figure(f"{each.name}, CPU time", each.cpu, "s")


_FIGURES: Sequence[Callable[[Results], Iterable[Figure]]] = (
    _through_envoy,
    _go,
    _latency,
    _direct,
    _natives,
    _tokens,
    _against,
    _routes,
    _shadow,
    _traces,
    _gateway,
    _gateway_memory,
    _looma,
    _flood,
    _reload,
    _remember,
    _footprint,
    _footprint_against,
    _look_ups,
    _offline,
)

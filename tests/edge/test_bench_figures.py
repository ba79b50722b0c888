"""The figures that `make bench` derives from its measurements."""

import sys
from pathlib import Path

import pytest

from bench import crowd, envoys, golang, offline
from bench.figures import Figure, Results, figures
from bench.load import read_log
from bench.offline import Offline
from bench.processes import check_out
from bench.rounds import Row, Spread
from bench.sections import CACHED, NEW, REPEATED, TABLES, Footprint
from bench.sidecars import ROUTES, table
from demo.process import Process
from sidecar.core.routes.route import Route
from sidecar.core.routes.table import compile_policy
from sidecar.workbench.logs import read_line


def always(value: float) -> Spread:
    """Return a value that is the same in every round."""
    return Spread.of([value] * 5)


def row(section: str, name: str, concurrency: int, cpu: float, rate: float, p50: float) -> Row:
    """Return a row of such values."""
    figures_of_rounds = always(rate), always(p50), always(2 * p50)
    return Row(section, name, concurrency, {"sidecar": always(cpu)}, *figures_of_rounds)


def by_name(results: Results) -> dict[str, Figure]:
    """Return the figures by their names."""
    return {figure.name: figure for figure in figures(results)}


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Rounds in which the machine was slow for both, or for one of them, do not count."""
    now, before = Spread.of([10, 30, 12, 11, 90]), Spread.of([20, 60, 24, 11, 10])
    assert now.over(before) == 0.5


def test_figures_without_measurements_are_omitted() -> None:
    assert figures(Results()) == []


def test_the_generated_log_can_be_replayed(tmp_path: Path) -> None:
    offline.write_log(tmp_path / "log", 50)
    logged = [read_line(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert len({each.request.target for each in logged}) == 50
    routes = [Route(i, str(i), str(each["path"])) for i, each in enumerate(table(offline.ROUTES))]
    policy = compile_policy(routes, digest="")
    for each in logged:
        assert not each.lacks
        segments = tuple(each.request.target.decode()[1:].split("/"))
        assert isinstance(policy.match("", "GET", segments), Route)


def test_a_goal_is_for_elapsed_time_not_for_cpu_time() -> None:
    found = by_name(Results(offline=[Offline(offline.REPLAY, 121.0, 60.0)]))
    assert found[offline.REPLAY].met is False
    assert found[f"{offline.REPLAY}, CPU time"].met is None


def test_ratios_are_h2_to_the_other() -> None:
    """Latency is what is added to Envoy without ext_authz."""
    results = Results(
        rows=[
            row("through Envoy", name, connections, cpu, rate, p50)
            for connections in (1, 16)
            for name, cpu, rate, p50 in (
                (envoys.NO_AUTH, 0.0, 20_000, 50),
                ("grpcio", 300.0, 2_000, 450),
                ("h2", 30.0, 4_000, 250),
            )
        ]
    )
    found = by_name(results)
    assert found["CPU per check through Envoy, h2 ÷ grpcio"].value == 0.1
    assert found["requests per second through Envoy, h2 ÷ grpcio"].value == 2
    assert found["latency added at one connection, h2 ÷ grpcio"].value == 0.5
    assert all(figure.met is not False for figure in found.values())


def test_the_go_server_is_a_goal_if_it_was_measured() -> None:
    """The sidecar may use as much CPU and must answer nearly as many requests."""
    rows = [
        row("through Envoy", "h2", 16, 30.0, 800, 50),
        row("through Envoy", golang.NAME, 16, 20.0, 1_000, 50),
    ]
    found = by_name(Results(rows=rows))
    assert found[f"CPU per check through Envoy, h2 ÷ {golang.NAME}"].met is False
    assert found[f"requests per second through Envoy, h2 ÷ {golang.NAME}"].met is False


def test_an_earlier_commit_is_compared_by_ratios() -> None:
    rows = [
        row("against", name, 16, cpu, rate, 50)
        for name, cpu, rate in (
            (REPEATED, 20.0, 800),
            (f"{REPEATED}, before", 10.0, 1_000),
            *((f"{name}{end}", 50.0, 500) for name in (CACHED, NEW) for end in ("", ", before")),
        )
    ]
    found = by_name(Results(rows=rows))
    assert found[f"CPU per check, {REPEATED}, now ÷ before"].value == 2
    assert found[f"requests per second, {REPEATED}, now ÷ before"].value == 0.8
    assert found[f"CPU per check, {NEW}, now ÷ before"].value == 1


async def test_an_earlier_commit_runs_from_its_own_tree(tmp_path: Path) -> None:
    await check_out("HEAD", tmp_path)
    command = [sys.executable, "-P", "-c", "import sidecar; print(sidecar.__file__)"]
    env = {"PYTHONPATH": str(tmp_path)}
    child = await Process.start("child", command, tmp_path, env)
    await child.wait()
    assert child.output().strip() == str(tmp_path / "sidecar" / "__init__.py")


async def test_without_go_the_go_server_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output shows it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    async with golang.running(tmp_path) as server:
        assert server is None
    assert "skipped" in capsys.readouterr().out


def test_a_flood_may_double_the_p99_of_valid_requests() -> None:
    """The effect of as many valid requests is a figure without a goal."""
    results = Results(
        rows=[
            row("flood", name, crowd.CONNECTIONS, 100.0, 300, p50)
            for name, p50 in ((crowd.NONE, 500), (crowd.GOOD, 800), (crowd.MADE_UP, 1_001))
        ]
    )
    flood, good = (
        by_name(results)[f"p99 of valid requests, {name} ÷ none"]
        for name in (crowd.MADE_UP, crowd.GOOD)
    )
    assert (flood.value, flood.met) == (2.002, False)
    assert (good.value, good.met) == (1.6, None)


def test_a_goal_that_is_missed_is_told() -> None:
    spread = always(90.0)
    found = by_name(Results(footprints=[Footprint("h2", spread, spread, spread, spread)]))
    assert found["memory (RSS) when ready, h2"].met is False
    assert found["start to ready, CPU time, h2"].met is None


def test_a_table_has_as_many_routes_as_are_asked_for() -> None:
    for number in TABLES:
        routes = table(number)
        assert len({route["path"] for route in routes}) == number
        assert all(route in routes for route in ROUTES)


def test_a_log_of_h2load_is_read(tmp_path: Path) -> None:
    """When a call began, its status, how long it took: microseconds."""
    log = tmp_path / "log"
    log.write_text("".join(f"{1000 * number}\t200\t{number}\n" for number in range(1, 101)))
    load = read_log(log, 100)
    assert (load.requests, round(load.seconds, 6)) == (100, 0.0991)
    assert 50e-6 <= load.p50 <= 51e-6
    assert 99e-6 <= load.p99 <= 100e-6

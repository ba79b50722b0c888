"""Time series from Prometheus: one query for all viewers, and any answer is bounded."""

import json
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.console.prometheus import MAX_SERIES, POINTS, QUERIES
from tests.console.rig import running
from tests.console.test_registry import answering, serving

ROOT = Path(__file__).parents[2]
EMPTY: dict[str, Any] = {"data": {"result": [], "alerts": []}}


def answered(result: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a Prometheus that answers each query with a result."""

    async def handler(request: web.Request) -> web.Response:
        body = {"data": {"result": result}} if "query" in request.query else EMPTY
        return web.Response(text=json.dumps(body), content_type="application/json")

    return handler


async def charts(tmp_path: Path, handler: Any, path: str = "/api/series?range=1h") -> Any:
    async with (
        serving(handler) as url,
        running(tmp_path, url, url, prometheus={"url": url}) as console,
    ):
        return await console.get(path)


async def test_each_chart_has_its_query_and_points(tmp_path: Path) -> None:
    points = [[1795867200 + 60 * number, str(number / 2)] for number in range(60)]
    result = [{"metric": {"reason": "token_expired"}, "values": points}]
    status, body = await charts(tmp_path, answered(result))
    assert status == 200
    assert [chart["query"] for chart in body["charts"]] == [each.promql for each in QUERIES]
    denials = next(chart for chart in body["charts"] if chart["key"] == "denials")
    assert denials["series"][0]["name"] == "token_expired"
    assert denials["series"][0]["points"][2] == [1795867320.0, 1.0]


async def test_the_range_sets_the_step(tmp_path: Path) -> None:
    asked: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query)
        return web.json_response(EMPTY)

    for name, seconds in (("1h", 3600), ("7d", 604800)):
        asked.clear()
        await charts(tmp_path, handler, f"/api/series?range={name}")
        for query in (each for each in asked if "step" in each):
            assert int(query["end"]) - int(query["start"]) == seconds
            assert int(query["step"]) * POINTS == seconds


@pytest.mark.parametrize(
    "result",
    [
        None,
        "x",
        [None, 7, {}, {"values": "x"}, {"values": [1, [1], ["a", "b"], [1, 2, 3]]}],
        [{"metric": {"reason": "\u202e" * 900}, "values": [[1, "NaN"], [2, "+Inf"], [3, "x"]]}],
        [{"metric": {}, "values": [[number, "1"] for number in range(300)]}] * 30,
    ],
)
async def test_any_answer_becomes_a_bounded_chart(tmp_path: Path, result: Any) -> None:
    status, body = await charts(tmp_path, answered(result))
    assert status == 200
    for chart in body["charts"]:
        assert len(chart["series"]) <= MAX_SERIES
        for series in chart["series"]:
            assert series["name"].isprintable()
            assert len(series["points"]) <= 2 * POINTS
            assert all(value is None or value >= 0 for _, value in series["points"])


async def test_a_prometheus_that_fails_is_named_and_the_page_remains(tmp_path: Path) -> None:
    status, body = await charts(tmp_path, answering(b"no", 500))
    assert (status, body["code"]) == (502, "UNAVAILABLE")
    status, text = await charts(tmp_path, answering(b"no", 500), "/view/overview")
    assert status == 200
    assert "data-chart" in text


async def test_one_chart_that_fails_leaves_the_others(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        if "topk" in request.query.get("query", ""):
            return web.json_response({"status": "error"}, status=422)
        return web.json_response(EMPTY)

    status, body = await charts(tmp_path, handler)
    assert status == 200
    failed = [chart["key"] for chart in body["charts"] if chart["error"]]
    assert failed == ["denials"]


async def test_firing_alerts_are_listed(tmp_path: Path) -> None:
    alerts = [
        {"labels": {"alertname": "Down", "severity": "critical"}, "state": "firing"},
        {"labels": {"alertname": "Later"}, "state": "pending"},
        {"labels": "x", "state": "firing"},
        7,
    ]
    handler = answering({"data": {"alerts": alerts, "result": []}, "services": []})
    _, overview = await charts(tmp_path, handler, "/api/overview")
    found = overview["cluster_overview"]["prometheus_alerts"]
    assert [alert["name"] for alert in found] == ["Down", ""]


async def test_without_prometheus_there_are_current_values_only(tmp_path: Path) -> None:
    async with (
        serving(answering({"services": []})) as url,
        running(tmp_path, url, url) as console,
    ):
        status, body = await console.get("/api/series")
        assert (status, body["charts"]) == (200, [])
        assert (await console.get("/api/series?range=2h"))[0] == 400
        assert "prometheus.url is not set" in (await console.get("/view/overview"))[1]


def test_the_queries_name_metrics_that_the_sidecar_has() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for query in QUERIES:
        for name in re.findall(r"zervi_sidecar_\w+", query.promql):
            assert f"`{name.removesuffix('_bucket')}`" in page, name


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
def test_prometheus_itself_accepts_the_queries(tmp_path: Path) -> None:
    rules = [{"record": f"console:{each.key}", "expr": each.promql} for each in QUERIES]
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"groups": [{"name": "console", "rules": rules}]}))
    found = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "4 rules found" in found.stdout

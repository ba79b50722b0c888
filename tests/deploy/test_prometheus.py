"""Alerts and dashboards with a real Prometheus: the rules, and every query on real metrics."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from demo import gateway
from demo.ports import Ports
from demo.process import Process
from demo.stack import running
from sidecar.documents import own_yaml
from tests.support.ports import free_port, free_ports_in_a_row

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text("utf-8")
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)"
)
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed (Debian: prometheus)"
)


def alerts() -> list[dict[str, Any]]:
    """Return the alerts of the rules."""
    groups = own_yaml.read(RULES)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions(path: Path) -> list[str]:
    """Return every query of a dashboard, with Grafana's variables filled in."""
    panels = json.loads(path.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    values = {"$__rate_interval": "10s", "$__range": "1m", "$job": ".+", "$instance": ".+"}
    for name, value in values.items():
        queries = [query.replace(name, value) for query in queries]
    assert not [query for query in queries if "$" in query]
    return queries


@needs_promtool
@pytest.mark.parametrize("arguments", [("check", RULES.name), ("test", "tests.yaml")])
def test_promtool_accepts_the_rules_and_their_tests(arguments: tuple[str, str]) -> None:
    verb, file = arguments
    done = subprocess.run(
        ["promtool", verb, "rules", file], cwd=RULES.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test_on_either_side() -> None:
    tests = own_yaml.read(RULES.parent / "tests.yaml")["tests"]
    names = [alert["alert"] for alert in alerts()]
    wanted = {f"{name} {verb}" for name in names for verb in ("fires", "does not fire")}
    assert {test["name"] for test in tests} == wanted


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    """What it means, how to look, what to do."""
    sections = dict(re.findall(r"^## (\w+)\n(.+?)(?=^## |\Z)", RUNBOOKS, re.MULTILINE | re.DOTALL))
    assert list(sections) == [alert["alert"] for alert in alerts()]
    for alert in alerts():
        name = alert["alert"]
        assert alert["annotations"]["runbook"] == f"docs/runbooks.md#{name.lower()}"
        for heading in ("**Meaning.**", "**Look.**", "**Do.**"):
            assert heading in sections[name], name


def test_the_metrics_of_rules_and_dashboards_exist() -> None:
    """As docs/operations.md lists them; the others are Envoy's and those of each process."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    text = RULES.read_text() + "".join(path.read_text() for path in DASHBOARDS)
    used = {name.removesuffix("_bucket") for name in re.findall(r"zervi_sidecar_\w+", text)}
    assert used <= set(re.findall(r"`(zervi_sidecar_\w+)`", page))


class Prometheus:
    """A running Prometheus."""

    def __init__(self, process: Process, url: str, session: aiohttp.ClientSession) -> None:
        self._process = process
        self._url = url
        self._session = session

    async def query(self, expression: str) -> list[Any]:
        params = {"query": expression}
        async with self._session.get(f"{self._url}/api/v1/query", params=params) as answer:
            body = await answer.json()
        assert body["status"] == "success", f"{expression}: {body}"
        found: list[Any] = body["data"]["result"]
        return found

    async def until_data(self, expression: str) -> None:
        """Wait until an expression has a result that is a number."""
        async with asyncio.timeout(60):
            while True:
                self._process.check_running()
                try:
                    if "NaN" not in str(await self.query(expression) or "NaN"):
                        return
                except aiohttp.ClientError:
                    pass  # it does not listen yet, or is not ready: 503, as text
                await asyncio.sleep(0.2)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def prometheus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """Give a Prometheus that scrapes a sidecar, a gateway and an Envoy that have had requests."""
    directory = tmp_path_factory.mktemp("prometheus")
    ports = Ports.from_base(free_ports_in_a_row(len(Ports._fields)))
    (directory / "stack").mkdir()
    async with (
        running(ports, directory / "stack") as stack,
        gateway.running(directory / "gateway", stack.looma, stack.zervi, stack.secret) as before,
        aiohttp.ClientSession() as session,
    ):
        await before.start("basic-server-1")
        jobs = {
            "zervi-sidecar": (f"127.0.0.1:{ports.ops}", "/metrics"),
            "zervi-gateway": (before.ops, "/metrics"),
            "envoy": (f"127.0.0.1:{ports.stats}", "/stats/prometheus"),
        }
        port = free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": job, "metrics_path": path, "static_configs": [{"targets": [target]}]}
                for job, (target, path) in jobs.items()
            ],
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        command = [
            str(shutil.which("prometheus")),
            f"--config.file={directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        process = await Process.start("prometheus", command, directory)
        asking = asyncio.create_task(_ask(stack.envoy.url, before, session))
        try:
            yield Prometheus(process, f"http://127.0.0.1:{port}", session)
        finally:
            asking.cancel()
            await process.stop()


async def _ask(url: str, before: gateway.Gateway, session: aiohttp.ClientSession) -> None:
    """Send allowed and denied requests until this is cancelled."""
    while True:
        async with session.get(f"{url}/api/services/list") as answer:
            await answer.read()
        await before.ask("alice")
        await asyncio.sleep(0.2)


@needs_prometheus
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
async def test_every_panel_has_data(prometheus: Prometheus, path: Path) -> None:
    for expression in expressions(path):
        await prometheus.until_data(expression)


@needs_prometheus
@pytest.mark.asyncio(loop_scope="module")
async def test_prometheus_loads_the_rules(prometheus: Prometheus) -> None:
    """And none of them fires for what works; the expressions are those of the tests."""
    await prometheus.until_data("zervi_sidecar_build_info")
    firing = await prometheus.query('ALERTS{alertstate="firing"}')
    assert [each["metric"]["alertname"] for each in firing] == []

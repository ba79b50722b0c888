"""The console keeps docs/console.openapi.yaml, and the stand-in what the console asks of Zervi."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.console.rig import BOB, ORIGIN, entry, hostile_entry, whole
from tests.edge.looma_contract import Contract
from tests.support.in_thread import in_thread

ROOT = Path(__file__).parents[2]
PATH = ROOT / "docs" / "console.openapi.yaml"
EXAMPLES = 8  # of each operation: some fifteen seconds together

schema = schemathesis.openapi.from_path(PATH, config=SchemathesisConfig())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a console with nodes, hostile ones among them, in a thread; its URL."""
    directory = tmp_path_factory.mktemp("console")
    (directory / "sidecar.yaml").write_text((ROOT / "envoy/console/sidecar.yaml").read_text())
    (directory / "routes.yaml").write_text((ROOT / "envoy/console/routes.yaml").read_text())
    with in_thread(_console(directory)) as (url, _):
        yield url


@asynccontextmanager
async def _console(directory: Path) -> AsyncIterator[str]:
    sections = {
        "policies": [{"config": "sidecar.yaml"}],
        "environments": {"database": "environments.db"},
    }
    async with whole(directory, **sections) as (console, looma, _):
        for number in range(30):
            body = entry(number) if number % 2 else hostile_entry(number % 5)
            async with console.client.post(f"{looma.url}/cluster/register", json=body):
                pass
        yield console.url


@schema.exclude(operation_id=["events"]).parametrize()  # a stream: tests/console/test_events.py
@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_keeps_the_contract(case: Any, base: str) -> None:
    """Valid and invalid requests get an answer that the contract has, and never a 500."""
    case.call_and_validate(
        base_url=base,
        headers={**BOB, "Origin": ORIGIN},
        checks=[
            not_a_server_error_but_502,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            negative_data_rejection,
        ],
    )


def not_a_server_error_but_502(context: Any, response: Any, case: Any) -> Any:
    """Let 502 pass: Zervi has refused."""
    return None if response.status_code == 502 else not_a_server_error(context, response, case)


async def test_the_contract_has_every_route_of_the_api_and_no_other(tmp_path: Path) -> None:
    async with whole(tmp_path, environments={"database": "environments.db"}) as (console, _, _):
        served = {
            (method, path)
            for method, path in console.parts_routes()
            if path.startswith("/api/") or path == "/session"
        }
    documented = {
        (method.upper(), path)
        for path, operations in Contract("console").document["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert served == documented


async def test_the_stand_in_keeps_the_contract_with_zervi(tmp_path: Path) -> None:
    contract = Contract("zervi-console")
    asked: set[str] = set()
    async with whole(tmp_path) as (console, _, zervi):
        for method, path in (
            ("GET", "/api/users?q=al&limit=20"),
            ("GET", "/api/users/2"),
            ("GET", "/api/users/2/permissions"),
            ("GET", "/api/users/2/auth-metrics"),
            ("POST", "/api/users/2/logout"),
            ("GET", "/api/users/99"),
            ("GET", "/api/auth/statistics"),
            ("GET", "/api/auth/activity?limit=5"),
        ):
            for zervi.down in (False, True):
                async with console.client.request(method, zervi.url + path) as answer:
                    plain = path.partition("?")[0]
                    contract.check_answer(method, plain, answer.status, await answer.json())
                    asked.add(contract.operation(method, plain)["operationId"])
    operations = [
        operation["operationId"]
        for each in contract.document["paths"].values()
        for name, operation in each.items()
        if name != "parameters"
    ]
    assert asked == set(operations)


def test_the_console_asks_zervi_only_what_the_contract_has() -> None:
    text = (ROOT / "sidecar/console/people/zervi.py").read_text()
    paths = set(re.findall(r'"(?:\{self\._base\})?(/api/[^"?]+)', text))
    asked = {re.sub(r"\{_segment\(id_\)\}", "{id}", path) for path in paths}
    assert asked - {"/api/v1/auth/login"} == set(Contract("zervi-console").document["paths"])


def test_pages_and_contract_name_the_same_operations() -> None:
    page = (ROOT / "docs" / "console.md").read_text()
    for path in Contract("console").document["paths"]:
        assert path in page, path

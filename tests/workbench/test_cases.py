"""The project's own cases: each holds, and together they leave no reason and no key out."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from sidecar.config.policy_file import RouteEntry
from sidecar.core.decision import Allow
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import Route
from sidecar.documents.schema import keys_of
from sidecar.documents.yaml_source import read_yaml
from sidecar.workbench.case_file import read_case
from sidecar.workbench.case_schema import (
    CaseEntries,
    Expectation,
    PrincipalEntry,
    RequestEntry,
)
from sidecar.workbench.coverage import measure
from sidecar.workbench.engine import PolicyEngine
from sidecar.workbench.runner import Result, run_case
from tests.support.case_tokens import CASES, files

PATHS = [path for path in sorted(CASES.glob("*.yaml")) if ".fixtures." not in path.name]

# No data can bring these about: tests of the service and of the gateway do.
NOT_DATA = {Reason.OVERLOADED, Reason.INTERNAL, Reason.NO_UPSTREAM, Reason.TOKEN_REVOKED}


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [result for path in PATHS for result in run_case(read_case(path))]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_case_holds(path: Path) -> None:
    wrong = [result for result in run_case(read_case(path)) if result.differences]
    assert [(r.cell.request, r.cell.principal, r.differences) for r in wrong] == []


def test_every_reason_is_brought_about(results: list[Result]) -> None:
    assert {result.judged.decision.reason for result in results} == set(Reason) - NOT_DATA


def test_every_key_of_a_route_is_shown_allowing_and_denying(results: list[Result]) -> None:
    """A key that requires something denies by its own reason, which is what coverage measures."""
    shown: dict[str, set[bool]] = {field.name: set() for field in fields(RouteEntry)}
    for result in results:
        decision = result.judged.decision
        if decision.route is not None:
            for key in _given(result, decision.route):
                shown[key].add(isinstance(decision, Allow))
        elif decision.reason is Reason.NO_ROUTE and (route := _by_host_alone(result)):
            shown["hosts"] |= {False} if route.hosts else set()
    assert {key for key, ways in shown.items() if ways != {True, False}} == set()


def test_every_requirement_is_shown_both_ways(results: list[Result]) -> None:
    missing = [
        (each.route.name, each.missing)
        for policy in measure(results)
        for each in policy.routes
        if each.missing
    ]
    assert missing == []


def test_the_literal_tokens_are_what_they_say() -> None:
    """The files contain what tests/support/case_tokens.py makes."""
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text


def _given(result: Result, route: Route) -> list[str]:
    """Return the keys that the route has in its file."""
    document = read_yaml(result.case.policy_path.read_bytes()).value
    assert isinstance(document, dict)
    return list(document["api_gateway"]["routes"][route.index])


def _by_host_alone(result: Result) -> Route | None:
    """Return the route that the request would have had on one of its hosts."""
    engine = PolicyEngine(result.case.config, result.case.now)
    for route in result.case.config.policy.routes:
        for host in route.hosts:
            found = engine.judge(result.judged.request._replace(host=host)).decision.route
            if found == route:
                return route
    return None


def test_every_key_of_a_case_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing-policies.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([a-z_]+)`", page, re.MULTILINE))
    sections = (CaseEntries, PrincipalEntry, RequestEntry, Expectation)
    assert documented == {key for section in sections for key in keys_of(section).kinds}

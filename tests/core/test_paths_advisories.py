"""The published cases, by advisory: none of them gets through here."""

import pytest

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.paths.canonical import ALLOWABLE
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from tests.core.advisories import CASES, HOST, LEGITIMATE, ROUTES, Case
from tests.support.policies import NOW, snapshot

ASKED_FOR = {
    "CVE-2019-9900",
    "CVE-2019-9901",
    "CVE-2021-29492",
    "CVE-2021-31920",
    "CVE-2021-32777",
    "CVE-2021-32779",
    "CVE-2021-39156",
    "CVE-2023-27487",
    "CVE-2026-26205",
    "CVE-2026-32811",
    "CVE-2026-42274",
    "CVE-2026-40575",
    "CVE-2026-73551",
}


def request(case: Case, *, raw_headers: bool = True) -> Request:
    headers: dict[str, list[bytes]] = {}
    for name, value in case.headers:
        headers.setdefault(name, []).append(value)
    return Request("GET", case.host, case.target, headers, raw_headers)


def label(case: Case) -> str:
    return f"{case.advisory} {case.target!r}"


def test_every_advisory_that_was_asked_for_has_a_case() -> None:
    assert {case.advisory for case in CASES} >= ASKED_FOR


@pytest.mark.parametrize("raw_headers", [True, False])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_published_case_is_denied_for_the_right_reason(case: Case, raw_headers: bool) -> None:
    decision = decide(request(case, raw_headers=raw_headers), snapshot(ROUTES), {}, NOW)
    assert isinstance(decision, Deny)
    assert decision.reason is case.reason


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_published_case_is_denied_even_where_everything_that_can_be_is_allowed(
    case: Case,
) -> None:
    table = snapshot(ROUTES, allow_paths=ALLOWABLE)
    assert isinstance(decide(request(case), table, {}, NOW), Deny)


@pytest.mark.parametrize("target", LEGITIMATE)
def test_a_legitimate_request_that_looks_like_a_case_passes(target: bytes) -> None:
    decision = decide(Request("GET", HOST, target, {}, True), snapshot(ROUTES), {}, NOW)
    assert isinstance(decision, Allow)
    assert decision.reason is Reason.PUBLIC

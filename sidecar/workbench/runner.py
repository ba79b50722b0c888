"""Runs a case file: every request by every principal, and what differs from what is wanted."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sidecar.core.decision import Allow
from sidecar.workbench.case_file import Case, Cell
from sidecar.workbench.case_schema import Expectation
from sidecar.workbench.engine import Bench, Judged


class Difference(NamedTuple):
    """One thing that is not as wanted."""

    what: str
    wanted: str
    got: str


class Result(NamedTuple):
    """One cell of a case's matrix, judged."""

    case: Case
    cell: Cell
    judged: Judged
    differences: tuple[Difference, ...]


def run_case(case: Case) -> Iterator[Result]:
    """Judge every request by every principal."""
    bench = Bench(case.config, case.now)
    for cell in case.cells:
        judged = bench.judge(case.requests[cell.request], case.principals[cell.principal])
        yield Result(case, cell, judged, tuple(_differences(cell.wanted, judged)))


def _differences(wanted: Expectation, judged: Judged) -> Iterator[Difference]:
    decision, answer = judged.decision, judged.answer
    got = {
        "decision": "allow" if isinstance(decision, Allow) else "deny",
        "reason": str(decision.reason),
        "status": answer.status,
        "route": None if decision.route is None else decision.route.name,
        "message": _json(answer.body).get("message"),
    }
    for what, value in got.items():
        if (want := getattr(wanted, what)) is not None and want != value:
            yield Difference(what, str(want), "none" if value is None else str(value))
    headers = dict(answer.headers)
    for name, want in wanted.headers.items():
        held = headers.get(name.lower())
        if held != want:
            yield Difference(f"header {name}", _text(want), _text(held))
    if isinstance(wanted.body, dict):
        body = _json(answer.body)
        for name, want in wanted.body.items():
            if name not in body or body[name] != want:
                yield Difference(f"body {name}", _text(want), _text(body.get(name)))
    elif wanted.body is not None and wanted.body != answer.body:
        yield Difference("body", _text(wanted.body), _text(answer.body))


def _json(body: str) -> dict[str, Any]:
    """Return the members of a body; ours is a JSON object where there is one."""
    value = json.loads(body) if body else {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)

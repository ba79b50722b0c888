"""Runs case files: every request by every principal, once or whenever a file changes."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.core.decision import Allow
from sidecar.workbench.case_file import Case, Cell
from sidecar.workbench.case_schema import Expectation
from sidecar.workbench.engine import Judged, PolicyEngine

POLL_SECONDS = 0.5


class Difference(NamedTuple):
    """One thing that differs from the expectation."""

    what: str
    wanted: str
    got: str


class Result(NamedTuple):
    """The result for one request and principal of a case."""

    case: Case
    cell: Cell
    judged: Judged
    differences: tuple[Difference, ...]


def run_case(case: Case) -> Iterator[Result]:
    """Judge every request by every principal."""
    engine = PolicyEngine(case.config, case.now)
    if case.feed is not None:
        engine.revoke(case.feed)
    for cell in case.cells:
        judged = engine.judge(case.requests[cell.request], case.principals[cell.principal])
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


def watch(run: Callable[[], Iterable[Path]], wait: Callable[[], None] | None = None) -> None:
    """Run, wait until one of the files that it returns changes, and repeat until KeyboardInterrupt.

    ``wait`` replaces the pause of POLL_SECONDS between two looks at the files.
    """
    pause = wait or (lambda: time.sleep(POLL_SECONDS))
    while True:
        files = tuple(run())
        before = [_stamp(file) for file in files]
        while [_stamp(file) for file in files] == before:
            pause()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size

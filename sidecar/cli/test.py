"""Run the test cases of a policy: requests, principals and expected decisions.

A pair that a case does not list must be denied. Exit codes: 0 if all expectations are met, 1 if
not, 2 if a case is invalid.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.routes.table import Policy
    from sidecar.workbench.coverage import PolicyCoverage
    from sidecar.workbench.runner import Result

EXAMPLE = "zervi-sidecar test cases/ --coverage --min-coverage 100"

CASE = """\
config: sidecar.yaml
principals:
  alice: {claims: {user_id: 7, role: user}}
requests:
  read orders: GET /api/orders/1
expect:
  read orders: {alice: allow, anyone: token_missing}
"""

CASES_ERROR = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the cases and the output options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    indented = "".join(f"  {line}\n" for line in CASE.splitlines())
    parser.epilog = (
        f"Example: {EXAMPLE}\n\nA case file (docs/testing-policies.md has more):\n\n{indented}"
    )
    parser.add_argument("cases", type=Path, nargs="+", metavar="FILE|DIR", help="case files")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML")
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="list which requirements of each route are not covered",
    )
    parser.add_argument(
        "--min-coverage", type=float, metavar="PERCENT", help="fail below this coverage"
    )
    parser.add_argument(
        "--changed-since",
        type=Path,
        metavar="POLICY",
        help="require the coverage (default: 100) of each route that is new or changed since this "
        "older policy, and of no other",
    )
    parser.add_argument("--watch", action="store_true", help="run again when a file changes")


def run(args: argparse.Namespace) -> int:
    """Run the cases; return 0, 1 if an expectation is not met, 2 if a case is invalid."""
    if not args.watch:
        return _run(args)[0]
    from sidecar.workbench.runner import watch

    def again() -> Iterable[Path]:
        print("\n" + "─" * 40)
        return _run(args)[1]

    with contextlib.suppress(KeyboardInterrupt):
        watch(again)
    return 0


def _run(args: argparse.Namespace) -> tuple[int, list[Path]]:
    from sidecar.config import ConfigError, Finding
    from sidecar.workbench import coverage, junit
    from sidecar.workbench.case_file import Case, read_case
    from sidecar.workbench.runner import run_case

    paths = list(_files(args.cases))
    cases: list[Case] = []
    findings: list[Finding] = []
    old = None
    for path in paths:
        try:
            cases.append(read_case(path))
        except ConfigError as error:
            findings += error.findings
    try:
        old = _old_policy(args.changed_since) if args.changed_since else None
    except ConfigError as error:
        findings += error.findings
    files = [*paths, *(file for case in cases for file in case.files)]
    for finding in dict.fromkeys(findings):
        print(finding, file=sys.stderr)
    if not paths:
        print(
            "no case files found: a case file ends in .yaml or .yml and has the key `requests`",
            file=sys.stderr,
        )
    if findings or not paths:
        return CASES_ERROR, [*files, *(Path(finding.file) for finding in findings)]
    results = [result for case in cases for result in run_case(case)]
    if args.junit:
        args.junit.write_bytes(junit.render(results))
    wanted = args.coverage or args.min_coverage is not None or old is not None
    measured = coverage.measure(results) if wanted else []
    good = not any(result.differences for result in results)
    low = list(_too_low(measured, args.min_coverage, old))
    if args.json:
        print(json.dumps(_as_json(results, measured), ensure_ascii=False))
    else:
        _print(results, measured)
    for line in low:
        print(line, file=sys.stderr if args.json else sys.stdout)
    return (0 if good and not low else 1), files


def _too_low(
    measured: "Iterable[PolicyCoverage]", required: float | None, old: "Policy | None"
) -> Iterator[str]:
    """Yield a line for each coverage that is lower than required."""
    from sidecar.workbench.coverage import changed_since

    least = required if required is not None else 0.0 if old is None else 100.0
    for each in measured:
        policy = os.path.normpath(each.policy)  # a case in a directory says ../routes.yaml
        shares = [(policy, each.percent)]
        if old is not None:
            shares = [
                (f"{policy}: {r.route.name} ({r.route.path}) is new or changed", r.percent)
                for r in changed_since(each.routes, old)
            ]
        for what, percent in shares:
            if percent < least:
                yield f"{what}: {percent:.0f} % coverage, less than the required {least:g} %"


def _old_policy(path: Path) -> "Policy":
    """Return an older policy. Raises ConfigError."""
    from sidecar.config import ConfigError, Finding, Severity
    from sidecar.config.load import read_old_policy
    from sidecar.documents.findings import BadValueError

    try:
        return read_old_policy(path)
    except BadValueError as wrong:
        message = f"the policy {wrong}"
        raise ConfigError([Finding("file", Severity.ERROR, str(path), 0, 0, message)]) from None


def _files(given: Iterable[Path]) -> Iterable[Path]:
    """Yield the named files, and the case files in named directories."""
    for path in given:
        if not path.is_dir():
            yield path
            continue
        for file in sorted(path.rglob("*.y*ml")):
            if file.suffix in {".yaml", ".yml"} and _is_case(file):
                yield file


def _is_case(file: Path) -> bool:
    """Return whether a file in a directory is a case: it has the key ``requests``."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True  # reading it reports the error
    return any(line.startswith(("requests:", '"requests":')) for line in lines)


def _print(results: "Sequence[Result]", measured: "Sequence[PolicyCoverage]") -> None:
    from sidecar.workbench.formats import counted

    for result in results:
        if not result.differences:
            continue
        cell, case = result.cell, result.case
        request = case.requests[cell.request]
        asked = f"{request.method} {request.target.decode('ascii', 'replace')}"
        print(f"{case.path}:{cell.line}: {cell.request} ({asked}) by {cell.principal}")
        for difference in result.differences:
            print(f"    {difference.what}: expected {difference.wanted}, got {difference.got}")
        reason = result.judged.answer.metadata.get("reason", "")
        detail = getattr(result.judged.decision, "detail", "")
        if reason and not any(difference.what == "reason" for difference in result.differences):
            print(f"    reason: {reason}" + (f" ({detail})" if detail else ""))
    for each in measured:
        policy = os.path.normpath(each.policy)  # a case in a directory says ../routes.yaml
        print(f"{policy}: {each.percent:.0f} % coverage of {counted(len(each.routes), 'route')}")
        for route in each.routes:
            if route.missing:
                lacking = ", ".join(route.missing)
                print(f"    {route.route.name} ({route.route.path}): not covered: {lacking}")
    failed = sum(bool(result.differences) for result in results)
    files = counted(len({result.case.path for result in results}), "file")
    print(f"{counted(len(results), 'decision')} in {files}: {failed} failed")


def _as_json(
    results: "Sequence[Result]", measured: "Sequence[PolicyCoverage]"
) -> dict[str, object]:
    return {
        "decisions": len(results),
        "failures": [
            {
                "file": str(result.case.path),
                "line": result.cell.line,
                "request": result.cell.request,
                "principal": result.cell.principal,
                "reason": result.judged.decision.reason,
                "differences": [each._asdict() for each in result.differences],
            }
            for result in results
            if result.differences
        ],
        "coverage": [
            {
                "policy": str(each.policy),
                "percent": round(each.percent, 1),
                "routes": [
                    {"route": r.route.name, "shown": r.shown, "missing": r.missing}
                    for r in each.routes
                ],
            }
            for each in measured
        ],
    }

"""Findings of `check` about overlapping routes, beyond those in test_check.py."""

from pathlib import Path

import pytest

from sidecar.config import read_files
from sidecar.core.routes.route import NotAllowed, Route
from sidecar.core.routes.table import compile_policy
from sidecar.documents.findings import Severity
from sidecar.review import overlap, suggestions
from tests.support.case_tokens import CASES
from tests.support.findings import review

ROOT = Path(__file__).parents[2]
Entry = tuple[str, str]  # a path, after the host that it is for; methods


def gaps(*entries: Entry, ignore_case: bool = False) -> list[tuple[str, str, str]]:
    """Return the narrower path, the wider one and the first words of each gap."""
    routes = [
        Route(
            index,
            str(index),
            path[path.index("/") :],
            hosts=frozenset(filter(None, [path[: path.index("/")]])),
            methods=frozenset(methods.split()),
        )
        for index, (path, methods) in enumerate(entries)
    ]
    policy = compile_policy(routes, digest="", ignore_case=ignore_case)
    found = []
    for problem in overlap.problems(policy):
        if problem.code == "method-gap":
            assert problem.other is not None
            narrow, wide = routes[int(problem.place[2])], routes[int(problem.other[2])]
            found.append((narrow.path, wide.path, problem.message.split(" `")[0]))
    return found


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([("/b/*", "GET"), ("/b/{id}", "PUT DELETE")], [("/b/{id}", "/b/*", "GET")]),
        ([("/b/{id}", "PUT DELETE"), ("/b/*", "GET")], [("/b/{id}", "/b/*", "GET")]),
        ([("/b/*", "GET PUT"), ("/b/x", "PUT"), ("/b/x", "POST")], [("/b/x", "/b/*", "GET")]),
        ([("/{x}/y", "GET POST"), ("/b/{x}", "PUT")], [("/b/{x}", "/{x}/y", "GET, POST")]),
        ([("/*", "GET"), ("/b/*", "GET"), ("/b/x", "PUT")], [("/b/x", "/*", "GET")]),
        ([("a.b/b/*", "GET"), ("/b/x", "PUT")], [("/b/x", "/b/*", "GET")]),
        ([("/b/*", "GET"), ("/b/x", "")], []),
        ([("/b/*", "GET"), ("/b/x", "GET PUT")], []),
        ([("/b/*", "HEAD"), ("/b/x", "GET")], []),
        ([("/b/*", "GET"), ("/b/x", "PUT"), ("/b/x", "GET")], []),
        ([("/b/*", ""), ("/b/x", "PUT")], []),
        ([("/b/*", "GET"), ("/c/x", "PUT")], []),
        ([("/b/x", "GET"), ("/b/x", "PUT")], []),
        ([("a.b/b/*", "GET"), ("c.d/b/x", "PUT")], []),
        ([("/b/*", "GET"), ("/B/x", "PUT")], []),
    ],
)
def test_a_method_that_a_narrower_path_leaves_out_is_reported_once(
    entries: list[Entry], told: list[tuple[str, str, str]]
) -> None:
    assert gaps(*entries) == told


def test_case_is_ignored_only_if_the_policy_ignores_it() -> None:
    found = gaps(("/b/*", "GET"), ("/B/x", "PUT"), ignore_case=True)
    assert found == [("/B/x", "/b/*", "GET")]


def test_the_reported_method_gets_405() -> None:
    """The example of docs/lint.md, decided by the engine."""
    routes = [
        Route(0, "all", "/b/*", methods=frozenset({"GET"})),
        Route(1, "one", "/b/{id}", methods=frozenset({"PUT", "DELETE"})),
    ]
    policy = compile_policy(routes, digest="")
    assert isinstance(policy.match("", "GET", ("b", "1")), NotAllowed)
    assert policy.match("", "GET", ("b", "1", "2")) is routes[0]


def test_a_table_over_the_limit_of_pairs_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Routes that never match are still reported for the whole table."""
    monkeypatch.setattr(overlap, "MAX_PAIRS", 3)
    table = "".join(f"    - path: /{letter}/*\n    - path: /{letter}/x\n" for letter in "abc")
    dead = "    - path: /n/*\n    - path: /n/{x}\n    - path: /n/{x}/*\n"
    found = review(tmp_path, f"api_gateway:\n  routes:\n{table}{dead}")
    assert [(each.code, each.line) for each in found] == [
        ("overlap", 3),
        ("not-compared", 4),
        ("never-matches", 9),
    ]
    assert found[1].severity is Severity.INFO


def test_the_projects_own_tables_have_no_gap(tmp_path: Path) -> None:
    found = review(tmp_path, (ROOT / "demo/routes.yaml").read_text(encoding="utf-8"))
    for name in ("sidecar.yaml", "elsewhere.yaml"):
        files = read_files(CASES / "config" / name, {}, offline=True)
        found += suggestions.findings(files)
    assert "method-gap" not in {each.code for each in found}

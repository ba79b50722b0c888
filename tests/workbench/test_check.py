"""`check`: findings of a review, and their output formats."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.core.placement.place import RESERVED
from sidecar.core.routes.route import NotAllowed, Route
from sidecar.core.routes.table import Policy, PolicyError, compile_policy
from sidecar.documents.findings import Finding, Severity
from sidecar.documents.spelling import likely_typos, one_apart
from sidecar.review import claims, overlap
from sidecar.workbench.formats import render
from tests.edge.config_files import SECRET, Files
from tests.support.findings import review
from tests.support.jobfirst import SEED


def test_the_customers_own_table_has_no_findings(tmp_path: Path) -> None:
    assert review(tmp_path, SEED) == []


def test_with_roles_it_has_only_infos(tmp_path: Path) -> None:
    sidecar = (
        "zervi: {role_permissions: {admin: [cluster:manage]}, issuers: [{issuer: zervi, "
        "secret_env: ZERVI_JWT_SECRET}]}\npolicy: {file: routes.yaml}\n"
    )
    found = review(tmp_path, sidecar, SEED)
    assert [(each.code, each.severity) for each in found] == [("ungranted-permission", "info")]


GATEWAY = """\
zervi: {issuers: [{issuer: zervi, secret_env: ZERVI_JWT_SECRET}]}
policy: {file: routes.yaml}
gateway:
  envoy_dir: /run/zervi/envoy
  allow_networks: [10.0.0.0/8]
  unsafe_plaintext_targets: true
  services: {zervi-auth: ["http://zervi-auth:8080"]}
"""


@pytest.mark.parametrize(
    ("routes", "codes"),
    [
        ("[{path: /a, target: zervi-auth}]", []),
        ("[{path: /a, target: zervi-auth}, {path: /b}]", ["no-target"]),
        ("[{path: /a, target: zervi-auth-2}]", ["unused-service"]),
        ("[{path: /a, target: 'zervi-*'}]", ["target-beside-service", "unused-service"]),
        ("[{path: /a, target: 'zervi-auth-*'}]", ["unused-service"]),
        ("[{path: /a, target: '*'}, {path: /b, target: zervi-auth}]", ["target-beside-service"]),
    ],
)
def test_a_gateways_targets_are_compared_with_its_services(
    tmp_path: Path, routes: str, codes: list[str]
) -> None:
    table = f"api_gateway:\n  routes: {routes}\n"
    found = review(tmp_path, GATEWAY, table)
    assert sorted(each.code for each in found) == codes
    assert {each.severity for each in found} <= {Severity.WARNING}
    beside = GATEWAY[: GATEWAY.index("gateway:")]
    assert review(tmp_path, beside, table) == []


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_target_named_like_a_cluster_of_envoy_is_an_error_in_a_gateway(
    tmp_path: Path, name: str
) -> None:
    table = f"api_gateway:\n  routes: [{{path: /a, target: {name}}}]\n"
    errors = [each for each in review(tmp_path, GATEWAY, table) if each.severity is Severity.ERROR]
    assert [each.code for each in errors] == ["reserved-target"]
    assert review(tmp_path, GATEWAY[: GATEWAY.index("gateway:")], table) == []


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("orders:read", "order:read", True),
        ("orders:read", "orders:raed", True),
        ("orders:read", "orders:reed", True),
        ("orders:read", "orders:write", False),
        ("api:v1", "api:v2", False),
        ("data:read", "data:read2", False),
        ("ab", "ba", True),
        ("abcd", "cdab", False),
    ],
)
def test_one_letter_apart(one: str, other: str, apart: bool) -> None:
    assert one_apart(one, other) is apart
    assert one_apart(other, one) is apart


NAMES = st.lists(st.text("abcd", min_size=4, max_size=6), unique=True, max_size=12)


@given(NAMES, NAMES)
def test_typos_are_the_names_next_to_a_known_or_earlier_one(
    used: list[str], known: list[str]
) -> None:
    """The index finds the same names as comparing each with each."""
    found = dict(likely_typos(dict.fromkeys(used, 1), known))
    for index, name in enumerate(used):
        before = [*known, *used[:index]]
        near = [other for other in before if other != name and one_apart(name, other)]
        assert (name in found) is (bool(near) and name not in known)


PATHS = st.lists(st.sampled_from(["a", "b", "{x}", "*"]), max_size=3)
ROUTES = st.lists(
    st.tuples(PATHS, st.sampled_from([(), ("h.local",)]), st.sampled_from([(), ("GET",)])),
    min_size=1,
    max_size=7,
)


def compiled(entries: Sequence[tuple[list[str], tuple[str, ...], tuple[str, ...]]]) -> Policy:
    """Compile these routes without those that conflict."""
    routes: list[Route] = []
    policy = compile_policy((), digest="")
    for segments, hosts, methods in entries:
        named = [f"{{x{n}}}" if part == "{x}" else part for n, part in enumerate(segments)]
        route = Route(
            len(routes),
            f"r{len(routes)}",
            "/" + "/".join(named),
            hosts=frozenset(hosts),
            methods=frozenset(methods),
        )
        try:
            policy = compile_policy((*routes, route), digest="")
            routes.append(route)
        except PolicyError:
            continue
    return policy


def requests() -> list[tuple[str, str, tuple[str, ...]]]:
    """Return every request over a few hosts, methods and segments."""
    paths: list[tuple[str, ...]] = [()]
    for length in range(1, 6):
        alphabet = "abc" if length < 4 else "c"
        grown = [path for path in paths if len(path) == length - 1]
        paths += [(*path, segment) for path in grown for segment in alphabet]
    return [(h, m, p) for h in ("h.local", "o.local") for m in ("GET", "PUT") for p in paths]


ALL_REQUESTS = requests()


@given(ROUTES)
def test_never_matches_is_reported_exactly_for_routes_that_never_match(entries: list[Any]) -> None:
    """Compared with the matcher's answer to every possible request."""
    policy = compiled(entries)
    found = {policy.match(*request) for request in ALL_REQUESTS}
    winning = {route.index for route in found if isinstance(route, Route)}
    told = {
        problem.place[2] for problem in overlap.problems(policy) if problem.code == "never-matches"
    }
    assert told == {route.index for route in policy.routes} - winning


@given(ROUTES)
def test_a_route_that_loses_requests_to_others_is_reported(entries: list[Any]) -> None:
    """Requests lost to a different path count."""
    policy = compiled(entries)
    told = {problem.place[2] for problem in overlap.problems(policy)}
    for route in policy.routes:
        single = compile_policy((route,), digest="")
        for request in ALL_REQUESTS:
            found = policy.match(*request)
            winner = found.route if isinstance(found, NotAllowed) else found
            if single.match(*request) is route and winner is not None and winner is not route:
                same_path = winner.path == route.path or not _differ(winner.path, route.path)
                assert same_path or route.index in told


def _differ(one: str, other: str) -> bool:
    """Return whether two paths differ in more than the names of their segments."""
    shapes = [
        ["*" if part.startswith("{") else part for part in path.split("/")] for path in (one, other)
    ]
    tails = [path.endswith("/*") for path in (one, other)]
    return shapes[0] != shapes[1] or tails[0] != tails[1]


FINDINGS = (
    Finding("some-code", Severity.ERROR, "a,b.yaml", 3, 7, "100 % wrong", "do\nthis"),
    Finding("other", Severity.WARNING, "b.yaml", 1, 1, "perhaps"),
    Finding("file", Severity.INFO, "c.yaml", 0, 0, "as a whole"),
)


@pytest.mark.parametrize(("name", "found"), [("com.example." * 100 + ":x", 0), ("a.b", 1)])
def test_a_claim_with_many_dots_is_read_once(name: str, found: int) -> None:
    """An expression that tries each division of such a name never ends."""
    document = {"zervi": {"claims": {"roles": [name]}}}
    assert len(list(claims.problems(document))) == found


def test_json_holds_every_field() -> None:
    told = json.loads(render(FINDINGS, "json", "1.0"))
    assert told["version"] == "1.0"
    assert told["findings"][0] == {
        "code": "some-code", "severity": "error", "file": "a,b.yaml", "line": 3, "column": 7,
        "message": "100 % wrong", "help": "do\nthis",
    }  # fmt: skip


def test_github_annotations_are_escaped() -> None:
    assert render(FINDINGS, "github", "1.0").splitlines() == [
        "::error file=a%2Cb.yaml,title=some-code,line=3,col=7::100 %25 wrong (do%0Athis)",
        "::warning file=b.yaml,title=other,line=1,col=1::perhaps",
        "::notice file=c.yaml,title=file::as a whole",
    ]


def test_sarif_is_what_code_scanning_reads() -> None:
    told = json.loads(render(FINDINGS, "sarif", "1.0"))
    (run,) = told["runs"]
    assert told["version"] == "2.1.0"
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} == rules
    location = run["results"][0]["locations"][0]["physicalLocation"]
    assert location["region"] == {"startLine": 3, "startColumn": 7}
    assert "region" not in run["results"][2]["locations"][0]["physicalLocation"]


@pytest.mark.parametrize("form", ["json", "sarif", "github"])
@pytest.mark.parametrize(("routes", "code"), [("[]", 1), ("[{path: /x}]", 0)])
def test_every_format_has_the_same_exit_code(
    form: str,
    routes: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ZERVI_JWT_SECRET", SECRET)
    files = Files(tmp_path)
    files.write(routes=f"api_gateway: {{routes: {routes}}}\n")
    assert main(["check", "--config", str(files.config), "--format", form]) == code
    told = capsys.readouterr().out
    assert ("bad-value" in told) is bool(code)
    if form != "github":
        json.loads(told)

"""`import openapi` on what vendors publish: it loses nothing silently, and its table is good."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.config.policy_file import PolicySettings, compile_document
from sidecar.core.routes.route import NotAllowed, Route
from sidecar.core.routes.table import Policy
from sidecar.documents.yaml_source import read_yaml
from sidecar.workbench.draft_paths import fitted
from sidecar.workbench.drafts import Draft, Need, table
from sidecar.workbench.openapi_paths import MAX_BASES, operations

DOCUMENTS = sorted(
    path for path in (Path(__file__).parents[1] / "openapi").iterdir() if path.suffix != ".md"
)


def compiled(text: str) -> Policy:
    """Return a table as `check` compiles it, without any problem."""
    document = read_yaml(text.encode())
    assert document.faults == []
    policy, problems = compile_document(document, PolicySettings(frozenset()), "")
    assert problems == []
    assert policy is not None
    return policy


def imported(document: dict[str, Any]) -> tuple[str, list[str]]:
    drafts, remarks = operations(document)
    made = table([], drafts, remarks)
    return made.text, [remark.message for remark in made.remarks]


def routes(paths: dict[str, Any], **others: Any) -> list[dict[str, Any]]:
    text, _ = imported({"openapi": "3.1.0", "paths": paths, **others})
    compiled(text)
    found: list[dict[str, Any]] = yaml.safe_load(text)["api_gateway"]["routes"]
    return found


OPEN: dict[str, Any] = {"get": {"security": []}}
CLOSED: dict[str, Any] = {"get": {}}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_vendors_publish_becomes_a_good_table(
    document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each operation is in the table, or in a comment and on standard error."""
    assert main(["import", "openapi", str(document)]) == 0
    out, err = capsys.readouterr()
    policy = compiled(out)
    (tmp_path / "routes.yaml").write_text(out, encoding="utf-8")
    (tmp_path / "sidecar.yaml").write_text(
        "zervi: {issuers: [{issuer: x, jwks_url: 'https://x.example/keys'}]}\n"
        "policy: {file: routes.yaml}\n"
    )
    config = str(tmp_path / "sidecar.yaml")
    assert main(["check", "--config", config, "--openapi", str(document)]) == 0
    said = capsys.readouterr().out
    assert "endpoint-without" not in said
    assert len(policy.routes) > 1
    for line in err.splitlines():
        position, severity, message = line.split(": ", 2)
        assert position.startswith(str(document))
        assert severity == "warning"
        assert f"# {message}" in out


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/a/{id}", "/a/{id}"),
        ("/a/{order.id}", "/a/{order_id}"),
        ("/a/{id}/b/{id}", "/a/{id}/b/{id_2}"),
        ("/a/{proxy+}", "/a/*"),
        ("/a/{path*}", "/a/*"),
        ("/a/{path:.*}", "/a/*"),
        ("/a/{+path}", "/a/*"),
        ("/a/**", "/a/*"),
        ("/a/*path", "/a/*"),
        ("/a/*", "/a/{any}"),
        ("/a/{name=b/*/c/*}", "/a/b/{name}/c/{name_2}"),
        ("/a/{name=b/**}", "/a/b/*"),
        ("/a/{name=*}", "/a/{name}"),
        ("/a b/\u7528\u6237", "/a%20b/\u7528\u6237"),
        ("/a?b={c}", "/a"),
        ("/a#create", "/a"),
        ("a/b", "/a/b"),
        ("/a//b", "/a/b"),
        ("/a/", "/a/"),
        ("/", "/"),
    ],
)
def test_a_path_is_written_as_a_route_has_it(template: str, path: str) -> None:
    (route,) = routes({template: OPEN})
    assert (route["path"], route["auth_required"]) == (path, False)


@pytest.mark.parametrize("part", ["a/", "/", "{a}/", "{a}{b}/", "{a/b}", "{a=b/c}/", "{a", "*/"])
def test_the_time_for_a_path_grows_with_its_length(part: str) -> None:
    def seconds(length: int) -> float:
        template = "/" + part * (length // len(part))
        start = time.process_time()
        fitted(template)
        return time.process_time() - start

    few = min(seconds(4000) for _ in range(3))
    assert seconds(32_000) < 24 * few + 0.1  # what is not measured exactly


@pytest.mark.parametrize(
    "template", ["/a/{x}-{y}", "/a/near(lat={x},lon={y})", "/a/{x}{y}", "/a/..", "/a/%2F", "/a/{x"]
)
def test_a_path_that_no_route_has_is_a_wider_one_or_a_comment(template: str) -> None:
    """Wider if it is protected; a public one would open more than the document does."""
    text, (remark,) = imported({"openapi": "3.1.0", "paths": {template: CLOSED, "/b": CLOSED}})
    assert f"matches more than {template}" in remark
    assert f"# {remark}" in text
    assert [route.path.count("/") for route in compiled(text).routes] == [2, 1]
    text, (remark,) = imported({"openapi": "3.1.0", "paths": {template: OPEN, "/b": CLOSED}})
    assert f"GET {template} is not imported: a public route would match more" in remark
    assert f"# {remark}" in text
    assert [route.path for route in compiled(text).routes] == ["/b"]


@pytest.mark.parametrize(
    ("servers", "paths"),
    [
        ([], ["/x"]),
        ([{"url": "/"}], ["/x"]),
        ([{"url": "https://a.example/v1/"}], ["/v1/x"]),
        ([{"url": "https://a.example/v1"}, {"url": "v2"}], ["/v1/x", "/v2/x"]),
        ([{"url": "https://a.example"}, {"url": "https://b.example"}], ["/x"]),
        (
            [{"url": "https://{host}/{v}", "variables": {"v": {"default": "v2", "enum": ["v1"]}}}],
            ["/v1/x", "/v2/x"],
        ),
        ([{"url": "/{stage}", "variables": {"stage": {"default": "/prod"}}}], ["/prod/x"]),
        ([{"url": "/{stage}/a"}], ["/a/x"]),
        ([{"url": "http://["}], ["/x"]),
        ([{"url": 7}, 8], ["/x"]),
    ],
)
def test_every_base_path_of_the_servers_is_imported(servers: list[Any], paths: list[str]) -> None:
    assert sorted(route["path"] for route in routes({"/x": CLOSED}, servers=servers)) == paths
    inner = {"/x": {"servers": servers, "get": {}}}
    outer = [{"url": "/outer"}]
    expected = paths if servers else ["/outer/x"]
    assert sorted(route["path"] for route in routes(inner, servers=outer)) == expected


def test_many_servers_are_bounded_and_said() -> None:
    servers = [{"url": f"/{n}"} for n in range(100)]
    document = {"openapi": "3.1.0", "servers": servers, "paths": {"/x": CLOSED}}
    text, remarks = imported(document)
    assert len(compiled(text).routes) == MAX_BASES
    assert f"only the first {MAX_BASES} base paths are imported" in remarks


def test_swagger_2_has_a_base_path() -> None:
    text, _ = imported({"swagger": "2.0", "basePath": "/v2/", "paths": {"/x": CLOSED}})
    assert [route.path for route in compiled(text).routes] == ["/v2/x"]


SCHEMES = {
    "token": {"type": "oauth2"},
    "login": {"type": "http", "scheme": "Bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-key"},
}


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ([], {"auth_required": False}),
        ([{}], {}),
        ([{}, {"token": ["a"]}], {"permissions": ["a"]}),
        (None, {}),
        (7, {}),
        ([{"token": ["a", "b"]}], {"permissions": ["a", "b"]}),
        ([{"token": ["a"]}, {"token": ["b"]}], {"any_permissions": ["a", "b"]}),
        ([{"token": ["a"], "login": ["b"]}], {"permissions": ["a", "b"]}),
        ([{"token": ["a"]}, {"login": []}], {}),
        ([{"token": ["a"]}, {"key": []}], {"permissions": ["a"]}),
        ([{"token": ["a"], "key": []}], {"permissions": ["a"]}),
        ([{"key": []}], {}),
        (
            [{"token": ["a", "b"]}, {"token": ["a", "c"]}],
            {"permissions": ["a"], "any_permissions": ["b", "c"]},
        ),
        ([{"token": ["a"]}, {"token": ["a", "b"]}], {"permissions": ["a"]}),
        ([{"token": ["a", "b"]}, {"token": ["c"]}], {"permissions": ["a", "b", "c"]}),
        ([{"token": [" a\n", "x" * 600, ""]}], {"permissions": ["a?", "x" * 512, "?"]}),
    ],
)
def test_security_never_becomes_less(security: Any, expected: dict[str, Any]) -> None:
    components = {"securitySchemes": SCHEMES}
    (route,) = routes({"/x": {"get": {"security": security}}}, components=components)
    assert {key: route[key] for key in route if key not in ("path", "methods")} == expected
    (inherited,) = routes({"/x": {"get": {}}}, components=components, security=security)
    assert inherited == route


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ({"/a/{x}": OPEN, "/a/{y}": CLOSED}, [("/a/{x}", ["GET"], True)]),
        ({"/a/{x}": CLOSED, "/a/{y}": OPEN}, [("/a/{x}", ["GET"], True)]),
        ({"/a/{x}": OPEN, "/a/{y}": OPEN}, [("/a/{x}", ["GET"], False)]),
        (
            {"/a/{x}": OPEN, "/a/{y}": {"put": {}}},
            [("/a/{x}", ["GET"], False), ("/a/{y}", ["PUT"], True)],
        ),
        ({"/a": OPEN, "/a/": CLOSED}, [("/a", ["GET"], True)]),
        ({"/a?x=1": OPEN, "/a?x=2": CLOSED}, [("/a", ["GET"], True)]),
        ({"/a": {"get": {}, "head": {"security": []}}}, [("/a", ["GET"], True)]),
        ({"/a": {"head": {"security": []}}}, [("/a", ["HEAD"], False)]),
    ],
)
def test_two_operations_for_the_same_requests_are_one_route_that_requires_what_both_do(
    paths: dict[str, Any], expected: list[tuple[str, list[str], bool]]
) -> None:
    found = routes(paths)
    assert [(r["path"], r["methods"], r.get("auth_required", True)) for r in found] == expected


@pytest.mark.parametrize(
    "item",
    [
        {"$ref": "./other.yaml"},
        {"$ref": "#/nowhere"},
        {"$ref": "#/paths/~1open~1secret"},
        {"additionalOperations": {"link": {}}},
    ],
)
def test_a_public_route_does_not_open_what_is_not_imported(item: dict[str, Any]) -> None:
    every: dict[str, Any] = {"x-amazon-apigateway-any-method": {"security": []}}
    paths = {"/open/{proxy+}": every, "/open/secret": item, "/other/{proxy+}": every}
    text, remarks = imported({"openapi": "3.1.0", "paths": paths})
    assert [route.public for route in compiled(text).routes] == [False, True]
    assert any("/open/secret is not imported" in remark for remark in remarks)
    assert "/open/* needs a token, because /open/secret is not imported" in remarks


def test_a_reference_to_a_path_item_in_the_document_is_followed() -> None:
    items: dict[str, Any] = {"a/b~c": {"get": {"security": []}, "put": {}}}
    found = routes(
        {"/x": {"$ref": "#/components/pathItems/a~1b~0c", "get": {}}},
        components={"pathItems": items},
    )
    assert found == [{"path": "/x", "methods": ["GET", "PUT"]}]


def test_any_method_is_every_other_one() -> None:
    item: dict[str, Any] = {"x-amazon-apigateway-any-method": {"security": []}, "get": {}}
    closed, opened = routes({"/x": item})
    assert (closed["methods"], "auth_required" in closed) == (["GET"], False)
    assert "GET" not in opened["methods"]
    (only,) = routes({"/x": {"x-amazon-apigateway-any-method": {}}})
    assert "methods" not in only


TEMPLATES = st.lists(
    st.sampled_from(
        ["a", "b", "{x}", "{y}", "{x}:go", "{x}.json", "{x}-{y}", "{p+}", "*", "**", "", "a b",
         "%", "{n=a/*}", "A", ":v", "v{x}", "{x", "..", "{x}a", "a{x}", "a{x}b", "{x}.{y}", "?q"]
    ) | st.text(max_size=4),
    max_size=4,
).map(lambda parts: "/" + "/".join(parts))  # fmt: skip
SECURITY = st.none() | st.lists(
    st.dictionaries(
        st.sampled_from(["token", "login", "key"]), st.lists(st.sampled_from("abc"), max_size=2)
    ),
    max_size=3,
)
ITEMS = st.dictionaries(
    st.sampled_from(["get", "head", "post", "query", "x-amazon-apigateway-any-method", "x-y"]),
    SECURITY.map(lambda security: {} if security is None else {"security": security}),
    max_size=4,
) | st.sampled_from([None, {"$ref": "x.yaml"}, {"$ref": "#/paths/~1a"}])


@settings(max_examples=100)
@given(st.dictionaries(TEMPLATES, ITEMS, max_size=6))
def test_any_document_becomes_a_good_table(paths: dict[str, Any]) -> None:
    """Its table opens nothing that the document protects."""
    document = {"openapi": "3.1.0", "paths": paths, "components": {"securitySchemes": SCHEMES}}
    text, remarks = imported(document)
    policy = compiled(text)
    for remark in remarks:
        assert f"# {remark}" in text
    drafts, _ = operations(document)
    for draft in drafts:
        if draft.need.public or draft.lost:
            continue
        segments = tuple(part for part in draft.path.split("?")[0].split("/") if part)
        segments = tuple(re.sub(r"^\{\w+\}$", "zz9", part) for part in segments)
        literal = not any(set(part) & set("{}*%#") or part in (".", "..") for part in segments)
        for method in draft.methods:
            found = policy.match("x", method, segments)
            if literal and isinstance(found, Route):
                assert not found.public


def test_a_table_without_routes_is_good() -> None:
    text, _ = table([], [])
    (route,) = compiled(text).routes
    assert not route.public


def test_a_table_keeps_the_order_and_the_names_of_drafts() -> None:
    drafts = [
        Draft("/b", ("GET",), Need(), (), name="one", target="t"),
        Draft("/a", (), Need(public=True), (), name="one"),
    ]
    first, second = compiled(table(["x\ny"], drafts).text).routes
    assert (first.path, first.name, first.target) == ("/b", "one", "t")
    assert (second.path, second.name, second.public) == ("/a", "a", True)


def test_a_method_that_is_not_a_method_of_a_path_is_denied() -> None:
    text, _ = imported({"openapi": "3.1.0", "paths": {"/x": OPEN}})
    assert isinstance(compiled(text).match("x", "PUT", ("x",)), NotAllowed)

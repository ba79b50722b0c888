"""OpenAPI: a route table from a document, and how far the two have drifted."""

from pathlib import Path

import pytest

from sidecar.cli import main
from tests.edge.config_files import SECRET, Files

SPEC = """\
openapi: 3.1.0
info: {title: Orders, version: "1"}
servers: [{url: "https://api.jobfirst.local/api/v1/"}]
security: [{zervi: [orders:read]}]
paths:
  /login:
    post: {security: [], responses: {200: {description: in}}}
  /orders/{order_id}:
    parameters: []
    get: {responses: {200: {description: one}}}
    head: {responses: {200: {description: one}}}
    delete: {security: [{zervi: [orders:write, orders:admin]}], responses: {204: {}}}
  /reports:
    get: {security: [{zervi: [reports:read]}, {zervi: [admin]}], responses: {}}
    put: {security: [{}, {zervi: []}], responses: {}}
"""

TABLE = """\
# From openapi.yaml. Operations without `security` need a token.
api_gateway:
  routes:
    - path: "/api/v1/login"
      methods: [POST]
      auth_required: false
    - path: "/api/v1/orders/{order_id}"
      methods: [GET]
      permissions: ["orders:read"]
    - path: "/api/v1/orders/{order_id}"
      methods: [DELETE]
      permissions: ["orders:write", "orders:admin"]
    - path: "/api/v1/reports"
      methods: [GET]
      any_permissions: ["reports:read", "admin"]
    # calls without a token are denied, although the document allows them
    - path: "/api/v1/reports"
      methods: [PUT]
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv("ZERVI_JWT_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    Path("openapi.yaml").write_text(SPEC)
    return Files(tmp_path)


def drift(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what `check --openapi` says of drift."""
    main(["check", "--config", "sidecar.yaml", "--openapi", "openapi.yaml"])
    return [line for line in capsys.readouterr().out.splitlines() if "openapi.yaml" in line]


def test_a_document_becomes_a_table(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "openapi", "openapi.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == TABLE
    assert err == (
        "openapi.yaml:15:5: warning: calls without a token are denied, although the document "
        "allows them\n"
    )


def test_the_table_is_good_and_has_not_drifted(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(routes=TABLE)
    assert drift(capsys) == []
    assert main(["check", "--strict", "--config", "sidecar.yaml", "--openapi", "openapi.yaml"]) == 0


def test_differences_are_reported_in_both_directions(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the line of the endpoint, or of the route."""
    changed = TABLE.replace("/login", "/log-in").replace(
        "[GET]\n      any", "[PATCH]\n      name: patched\n      any"
    )
    files.write(routes=changed)
    assert drift(capsys) == [
        "openapi.yaml:7:5: warning: no route matches POST `/api/v1/login`",
        "openapi.yaml:14:5: warning: no route matches GET `/api/v1/reports`",
        "routes.yaml:4:1: warning: openapi.yaml has no endpoint for the route `api-v1-log-in`",
        "routes.yaml:13:1: warning: openapi.yaml has no endpoint for the route `patched`",
    ]


def test_a_wildcard_serves_what_is_below_and_a_literal_is_part_of_a_parameter(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(
        routes="api_gateway:\n  routes:\n    - path: /api/v1/*\n"
        "    - {path: /api/v1/orders/latest, methods: [GET]}\n"
        "    - {path: /api/v1/orders/first, methods: [PATCH]}\n"
        "    - {path: /api/v1/reports, hosts: [a.local]}\n"
    )
    assert drift(capsys) == [
        "routes.yaml:5:1: warning: openapi.yaml has no endpoint for the route `api-v1-orders-first`"
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("swagger: '1.2'\npaths: {}", "openapi.yaml:1:1: error: not an OpenAPI 3 document"),
        ("openapi: 2.0\npaths: {}", "openapi.yaml:1:1: error: not an OpenAPI 3 document"),
        ("paths: {}", "openapi.yaml:1:1: error: not an OpenAPI 3 document"),
        ("openapi: [", "error: this is not valid YAML"),
        ("", "error: the file is empty"),
        ("openapi: 3.0.0\npaths: *a", "error: the alias `*a` has no anchor"),
    ],
)
def test_a_file_that_is_not_an_openapi_document_is_an_error(
    files: Files, capsys: pytest.CaptureFixture[str], spec: str, message: str
) -> None:
    Path("openapi.yaml").write_text(spec)
    assert main(["import", "openapi", "openapi.yaml"]) == 1
    assert message in capsys.readouterr().err
    assert main(["check", "--config", "sidecar.yaml", "--openapi", "openapi.yaml"]) == 1


@pytest.mark.parametrize(
    "spec",
    [
        "openapi: 3.0.0",
        "openapi: 3.0.0\npaths: [1]",
        "openapi: 3.0.0\nservers: [{url: 'http://['}]\npaths: {/x: {get: 1}}",
        "openapi: 3.0.0\nservers: [{url: '{base}/v1'}]\npaths: {/x: {get: {security: 7}}}",
        "openapi: 3.0.0\npaths: &a {/x: *a, /y: {get: &b {security: *b}}}",
        "openapi: 3.0.0\npaths: {/x: null, /y: {get: null, x-own: {}}}",
    ],
)
def test_odd_documents_open_nothing(
    files: Files, capsys: pytest.CaptureFixture[str], spec: str
) -> None:
    Path("openapi.yaml").write_text(spec)
    assert main(["import", "openapi", "openapi.yaml"]) == 0
    table = capsys.readouterr().out
    assert "auth_required" not in table
    files.write(routes=table)
    assert main(["check", "--config", "sidecar.yaml"]) == 0


@pytest.mark.parametrize(
    ("route", "endpoint", "swallowed"),
    [
        ("/v1/things/{id}", "/v1/things/{id}:purge", True),
        ("/v1/things/*", "/v1/things/{id}:purge", False),
        ("/v1/{kind}", "/v1/things:search", True),
        ("/v1/things/{id}:purge", "/v1/things/{id}:purge", False),
        ("/v1/things/{id}", "/v1/things/me", False),
    ],
)
def test_a_route_that_swallows_an_endpoint_with_a_verb_is_a_warning(
    files: Files, capsys: pytest.CaptureFixture[str], route: str, endpoint: str, swallowed: bool
) -> None:
    """Its requirements count for the verb too, although the table does not name it."""
    Path("openapi.yaml").write_text(f"openapi: 3.0.0\npaths:\n  {endpoint}:\n    post: {{}}\n")
    files.write(routes=f"api_gateway:\n  routes:\n    - path: {route}\n")
    told = f"POST `{endpoint}` gets the route `{route}`"
    assert any(told in line for line in drift(capsys)) == swallowed

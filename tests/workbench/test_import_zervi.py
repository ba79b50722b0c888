"""`import zervi`: JobFirst's router table becomes a route table that is good."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.documents.findings import ConfigError
from sidecar.workbench.zervi_routes import zervi_yaml
from tests.workbench.test_import import compiled

ENTRY = {
    "routeKey": "user.list", "routeName": "\u7528\u6237\u5217\u8868", "routePath": "/api/v1/users",
    "serviceName": "user-service", "serviceEndpoint": "http://127.0.0.1:8082", "method": "GET",
    "routeType": "api", "isPublic": False, "isActive": True, "permissions": ["users:read"],
}  # fmt: skip
TABLE = """\
# From routes.json. Entries without `isPublic` need a token.
# target user-service is at http://127.0.0.1:8082
api_gateway:
  routes:
    - path: "/api/v1/users"
      name: "user.list"
      methods: [GET]
      target: "user-service"
      permissions: ["users:read"]
    - path: "/api/v1/login"
      methods: [POST]
      target: "auth"
      auth_required: false
  # GET /api/v1/old is not imported: it is not active
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "routes.json"


def imported(file: Path, *changes: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Import entries that differ from ENTRY; return the routes and the remarks."""
    file.write_text(json.dumps([{**ENTRY, **change} for change in changes]))
    text, remarks = zervi_yaml(file)
    compiled(text)
    for remark in remarks:
        assert f"# {remark.message}" in text
    return yaml.safe_load(text)["api_gateway"]["routes"], [remark.message for remark in remarks]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda entries: entries,
        lambda entries: {"code": 0, "message": "success", "data": entries},
        lambda entries: {"code": 200, "message": "ok", "data": {"routes": entries, "total": 3}},
        lambda entries: {"routes": entries},
    ],
)
def test_the_routers_answer_becomes_a_table(
    file: Path, wrap: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    login = {"routePath": "/api/v1/login", "method": "post", "isPublic": True, "isActive": True}
    old = {**ENTRY, "routePath": "/api/v1/old", "isActive": False}
    entries = [ENTRY, {**login, "serviceName": "auth", "permissions": None}, old]
    file.write_text(json.dumps(wrap(entries), indent=1))
    assert main(["import", "zervi", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out == TABLE
    assert err.endswith("warning: GET /api/v1/old is not imported: it is not active\n")
    compiled(out)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"method": "ANY"}, {"methods": None}),
        ({"method": ""}, {"methods": None}),
        ({"method": "GET,post"}, {"methods": ["GET", "POST"]}),
        ({"method": ["put"]}, {"methods": ["PUT"]}),
        ({"routePath": "/users/:id/files/*path"}, {"path": "/users/{id}/files/*"}),
        ({"routePath": "/users/{id}"}, {"path": "/users/{id}"}),
        ({"routePath": "/users/*"}, {"path": "/users/{any}"}),
        ({"routeKey": "a b/c"}, {"name": "a-b-c"}),
        ({"routeKey": "\u7528\u6237"}, {"name": None}),
        ({"permissions": []}, {"permissions": None}),
        ({"permissions": [{"permissionCode": "a:b", "id": 1}]}, {"permissions": ["a:b"]}),
        ({"permissions": [7]}, {"permissions": ["unreadable-permission"]}),
        ({"permissions": "a:b"}, {"permissions": ["a:b"]}),
        ({"isPublic": True, "permissions": []}, {"auth_required": False}),
        ({"isPublic": True}, {"auth_required": None, "permissions": ["users:read"]}),
        ({"isPublic": "true", "permissions": []}, {"auth_required": None}),
    ],
)
def test_each_field_becomes_a_key(
    file: Path, change: dict[str, Any], expected: dict[str, Any]
) -> None:
    (route,), _ = imported(file, change)
    assert {key: route.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"isActive": False}, "it is not active"),
        ({"isActive": 0}, "it is not active"),
        ({"routeType": "page"}, "its type `page` is not a route of requests"),
        ({"routePath": ""}, "it has no `routePath`"),
        ({"method": "G T"}, "no route has this method"),
    ],
)
def test_what_is_no_route_is_a_comment_and_a_line_on_standard_error(
    file: Path, change: dict[str, Any], why: str
) -> None:
    (route,), (remark,) = imported(file, {"routePath": "/x"}, {"routePath": "/y", **change})
    assert route["path"] == "/x"
    assert remark.endswith(f"is not imported: {why}")


def test_a_prefix_takes_what_is_below_it(file: Path) -> None:
    found, _ = imported(file, {"routePath": "/files/", "routeType": "prefix"})
    assert [route["path"] for route in found] == ["/files/", "/files/*"]


def test_entries_for_the_same_requests_are_one_route_that_requires_what_both_do(
    file: Path,
) -> None:
    (route,), (remark,) = imported(
        file,
        {"routePath": "/x/:id", "isPublic": True, "permissions": []},
        {"routePath": "/x/:name", "permissions": ["a"], "serviceName": "other"},
    )
    assert route["permissions"] == ["a"]
    assert "auth_required" not in route
    assert "is one route with" in remark


def test_an_inactive_entry_is_not_opened_by_a_public_one_around_it(file: Path) -> None:
    (route,), _ = imported(
        file,
        {"routePath": "/x/*all", "isPublic": True, "permissions": []},
        {"routePath": "/x/admin", "isActive": False},
    )
    assert "auth_required" not in route


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"code": 500, "message": "database is down", "data": null}', "database is down"),
        ('{"code": 0, "data": null}', "not a list of routes"),
        ("{}", "not a list of routes"),
        ("7", "not a list of routes"),
        ("", "the file is empty"),
    ],
)
def test_a_file_without_routes_is_an_error(
    file: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text)
    assert main(["import", "zervi", str(file)]) == 1
    assert message in capsys.readouterr().err


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.lists(st.text())


@given(st.lists(st.dictionaries(st.sampled_from(sorted(ENTRY)), VALUES), max_size=4))
def test_any_entries_become_a_good_table(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps([{**ENTRY, **entry} for entry in entries] + [7]))
    try:
        compiled(zervi_yaml(file)[0])
    except ConfigError:
        pytest.fail("a list of objects is never refused")

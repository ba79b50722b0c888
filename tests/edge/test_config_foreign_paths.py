"""Paths in the syntax of other software get a finding with this table's form."""

from pathlib import Path

import pytest

from sidecar.config.foreign_paths import foreign
from sidecar.core.routes.patterns import parse_pattern
from tests.support.findings import review


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("/users/:id", "/users/{id}"),  # Express, Gin, Rails
        ("/users/:id/orders/:order", "/users/{id}/orders/{order}"),
        ("/users/:id?", "/users/{id}"),
        (r"/users/:id(\d+)", "/users/{id}"),
        ("/files/:path*", "/files/*"),
        ("/static/*filepath", "/static/*"),
        ("/static/**", "/static/*"),
        ("/users/<id>", "/users/{id}"),  # Flask
        ("/users/<int:id>/x", "/users/{id}/x"),  # Django
        ("/files/<path:rest>", "/files/*"),
        ("/users/[id]", "/users/{id}"),  # Next.js
        ("/docs/[...slug]", "/docs/*"),
        ("/docs/[[...slug]]", "/docs/*"),
        ("/files/{path...}", "/files/*"),  # Go
        ("/files/{**path}", "/files/*"),  # ASP.NET
        ("/files/{proxy+}", "/files/*"),  # AWS API Gateway
        ("/users/{id:int}", "/users/{id}"),
        ("/users/{id?}", "/users/{id}"),
        ("/users/{id:[0-9]{2,4}}", "/users/{id}"),  # gorilla
        ("/files/{path:path}", "/files/*"),  # FastAPI
        ("/users/{{id}}", "/users/{id}"),  # Postman
        ("/users/${id}", "/users/{id}"),
        ("/users/{}", "/users/{name}"),
        ("/{}/{}", "/{name}/{name_1}"),
        (r"^/users/(?P<id>\d+)$", "/users/{id}"),  # regular expressions
        (r"^users/(?P<pk>[^/.]+)$", "/users/{pk}"),
        (r"/users/(\d+)/x", "/users/{name}/x"),
        ("/users/[0-9]+", "/users/{name}"),
        ("/files/.*", "/files/*"),
        ("/files/(?<rest>.*)", "/files/*"),
        ("~ ^/api/(.*)$", "/api/*"),  # nginx
    ],
)
def test_the_right_form_is_a_path_of_this_table(written: str, right: str) -> None:
    found = foreign(written)
    assert found is not None
    assert (found.path, found.certain) == (right, True)
    assert found.part
    parse_pattern(found.path)
    assert foreign(right) is None


@pytest.mark.parametrize(
    "path",
    [
        "/", "/*", "/users/{id}", "/a/*/b", "/a/b.json", "/v1/@scope/pkg", "/v1/things:purge",
        "/x(y)", "/Orders(7)/Lines", "/a-b_c~d", "/张/{id}", "/%5Bx%5D",
    ],
)  # fmt: skip
def test_a_path_of_this_table_is_not_foreign(path: str) -> None:
    assert foreign(path) is None


def test_a_segment_of_odata_may_be_meant_literally() -> None:
    found = foreign("/odata/$metadata")
    assert found is not None
    assert not found.certain


@pytest.mark.parametrize(
    ("path", "finding"),
    [
        ("/users/<id>", "warning: `<id>` is compared letter by letter (write `/users/{id}`)"),
        (
            "/v1/$batch",
            "info: `$batch` is compared letter by letter (right for OData and FHIR; for",
        ),
        ("/users/{id:int}", "(write `/users/{id}`)"),
        (r"^/users/(?P<id>\d+)/$", "begins with / (write `/users/{id}/`)"),
        ("/static/**", "(write `/static/*`)"),
        ("users", "(write `/users`)"),
        ("/users?x=1", "(write `/users`)"),
        ("https://api.example/users", "(write `/users`, and the host in `hosts`)"),
        ("/a b", "(write `/a%20b`)"),
    ],
)
def test_check_gives_the_right_form_with_the_finding(
    tmp_path: Path, path: str, finding: str
) -> None:
    """As a warning where the table compiles, and as the help of an error where it does not."""
    routes = f"api_gateway: {{routes: [{{path: '{path}', roles: [admin]}}]}}\n"
    assert any(finding in str(each) for each in review(tmp_path, routes))


def test_of_two_permissions_that_are_used_once_the_second_is_reported(tmp_path: Path) -> None:
    routes = (
        "api_gateway: {routes: [{path: /a, permissions: [orders:read]}, "
        "{path: /b, permissions: [order:read]}]}\n"
    )
    found = [str(each) for each in review(tmp_path, routes) if each.code == "misspelt-permission"]
    assert len(found) == 1
    assert "permission `order:read`: did you mean `orders:read`?" in found[0]


def test_a_role_with_every_permission_is_named_where_no_other_role_grants_one(
    tmp_path: Path,
) -> None:
    sidecar = (
        "zervi: {role_permissions: {admin: ['*']}, issuers: [{issuer: z, secret_env: "
        "ZERVI_JWT_SECRET}]}\npolicy: {file: routes.yaml}\n"
    )
    routes = "api_gateway: {routes: [{path: /a, permissions: [users:list]}]}\n"
    (found,) = [
        each for each in review(tmp_path, sidecar, routes) if each.code == "ungranted-permission"
    ]
    assert found.message == (
        "only the `*` of `admin` grants `users:list`: other tokens must contain it"
    )

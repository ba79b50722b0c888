"""A valid ``routes.yaml``: the routes that its entries become."""

import hashlib
from pathlib import Path

import pytest

from sidecar.core.routes.route import Route
from tests.edge.config_files import ISSUERS, Files
from tests.support.jobfirst import SEED


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def table(*entries: str) -> str:
    return "api_gateway:\n  routes:\n" + "".join(f"    - {{{entry}}}\n" for entry in entries)


def test_the_customers_own_table_is_accepted_unchanged(files: Files) -> None:
    files.write(routes=SEED)
    config = files.load()
    assert config.warnings == ()
    assert config.policy.routes == (
        Route(0, "api-auth-all", "/api/auth/*", "zervi-auth-service", public=True),
        Route(
            1,
            "api-cluster-all",
            "/api/cluster/*",
            "looma-crm-service",
            permissions=("cluster:manage",),
        ),
        Route(
            2,
            "api-services-all",
            "/api/services/*",
            "basic-server-*",
            permissions=("service:access",),
        ),
    )


def test_every_key_of_a_route_reaches_the_policy(files: Files) -> None:
    files.write(
        routes="""
api_gateway:
  routes:
    - path: "/api/users/{user_id}/orders/*"
      name: user-orders
      target: orders
      methods: [GET, POST]
      hosts: [API.jobfirst.local, "[::1]"]
      permissions: [orders:list]
      any_permissions: [orders:read, orders:admin]
      roles: [user, admin]
      owner: user_id
      owner_unless: [orders:admin]
      principals: [user, service]
      issuers: [zervi]
"""
    )
    assert files.load().policy.routes == (
        Route(
            index=0,
            name="user-orders",
            path="/api/users/{user_id}/orders/*",
            target="orders",
            methods=frozenset({"GET", "POST"}),
            hosts=frozenset({"api.jobfirst.local", "[::1]"}),
            permissions=("orders:list",),
            any_permissions=("orders:read", "orders:admin"),
            roles=("user", "admin"),
            owner=2,
            owner_unless=("orders:admin",),
            principals=frozenset({"user", "service"}),
            issuers=frozenset({"zervi"}),
        ),
    )


def test_a_route_without_a_name_is_named_by_its_path_and_if_shared_its_methods(
    files: Files,
) -> None:
    files.write(
        routes=table(
            "path: '/users/{id}', methods: [PUT, GET]",
            "path: '/users/{name}', methods: [POST]",
            "path: '/users/{id}', hosts: [a], methods: [DELETE]",
            "path: '/users/{id}', hosts: [b], methods: [DELETE]",
            "path: /files/*",
            "path: /*",
            "path: /",
            "path: /报告",
            "path: /x, name: files-all",
        )
    )
    assert [route.name for route in files.load().policy.routes] == [
        "users-id-get-put",
        "users-name",
        "users-id-delete",
        "users-id-delete-2",
        "files-all-2",
        "all",
        "root",
        "route",
        "files-all",
    ]


def test_a_policys_digest_is_the_sha256sum_of_its_file(files: Files) -> None:
    digest = hashlib.sha256((files.directory / "routes.yaml").read_bytes()).hexdigest()
    assert files.load().policy.digest == digest[:16]


def test_the_configurations_settings_reach_the_policy(files: Files) -> None:
    files.write(
        sidecar=ISSUERS
        + "policy: {file: routes.yaml, cors_preflight: off, ignore_case: true, "
        + "allow_paths: [semicolon]}\n"
    )
    policy = files.load().policy
    assert (policy.cors_preflight, policy.ignore_case) == ("off", True)
    assert policy.allow_paths == {"semicolon"}
    assert isinstance(policy.match("a", "GET", ("X",)), Route)

"""Paths where POST requires less than PUT, PATCH or DELETE."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routes.route import Route
from sidecar.core.tokens.principal import Kind, Principal, permits
from sidecar.review.method_override import problems
from tests.support.policies import policy

POST = Route(0, "post", "/x/{id}/y", methods=frozenset({"POST"}), permissions=("a",))
OTHER = replace(POST, index=1, name="other", methods=frozenset({"DELETE"}))


def found(post: Route, other: Route, upstream: str = "generic") -> int:
    """Return how many warnings a table of both has."""
    return len(list(problems(policy((post, other)), upstream)))


def test_equal_requirements_have_no_finding() -> None:
    assert found(POST, OTHER) == 0
    assert found(replace(POST, permissions=("a", "b")), OTHER) == 0


@pytest.mark.parametrize(
    "stricter",
    [
        {"permissions": ("a", "b")},
        {"permissions": ("b",)},
        {"any_permissions": ("b", "c")},
        {"roles": ("admin",)},
        {"owner": 1},
        {"principals": frozenset({"service"})},
        {"issuers": frozenset({"zervi"})},
    ],
    ids=lambda stricter: next(iter(stricter)),
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_requirement_that_post_lacks_is_found(method: str, stricter: dict[str, object]) -> None:
    other = replace(OTHER, methods=frozenset({method}), **stricter)  # type: ignore[arg-type]  # -- fields of a route
    assert found(POST, other) == 1
    assert found(replace(POST, permissions=(), public=True), other) == 1


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PURGE"])
def test_a_method_that_forms_cannot_select_has_no_finding(method: str) -> None:
    assert found(POST, replace(OTHER, methods=frozenset({method}), roles=("admin",))) == 0


def test_a_route_of_every_method_has_no_finding() -> None:
    assert found(replace(POST, path="/other"), replace(OTHER, methods=frozenset())) == 0


def test_routes_of_other_hosts_and_paths_are_not_compared() -> None:
    strict = replace(OTHER, roles=("admin",))
    assert found(POST, replace(strict, path="/x/{id}/z")) == 0
    hosted = replace(strict, hosts=frozenset({"b.test"}))
    assert found(replace(POST, hosts=frozenset({"a.test"})), hosted) == 0


@pytest.mark.parametrize("upstream", ["go", "django", "spring", "aspnet", "fastapi", "nginx"])
def test_an_upstream_that_reads_no_such_field_has_no_finding(upstream: str) -> None:
    assert found(POST, replace(OTHER, roles=("admin",)), upstream) == 0


_names = st.lists(st.sampled_from("abc"), unique=True, max_size=2).map(tuple)
_routes = st.builds(
    Route,
    index=st.just(0),
    name=st.just("post"),
    path=st.just("/x/{id}/y"),
    methods=st.just(frozenset({"POST"})),
    permissions=_names,
    any_permissions=_names,
    roles=_names,
    owner=st.sampled_from([None, 1]),
    owner_unless=_names,
    principals=st.sets(st.sampled_from(["user", "service"]), min_size=1).map(frozenset),
    issuers=st.sets(st.sampled_from(["a", "b"])).map(frozenset),
)
_principals = st.builds(
    lambda kind, subject, issuer, roles, permissions: Principal(
        kind,
        subject,
        issuer,
        roles=roles,
        permissions=permissions,
        granted=frozenset(permissions),
    ),
    st.sampled_from(Kind),
    st.sampled_from(["7", "8"]),
    st.sampled_from("ab"),
    _names,
    _names,
)


@given(_routes, _routes, st.lists(_principals, min_size=5, max_size=20))
def test_without_a_finding_post_allows_no_other_principal(
    post: Route, other: Route, everybody: list[Principal]
) -> None:
    """Checked with real principals, by the engine's own decision."""
    other = replace(other, index=1, name="other", methods=frozenset({"DELETE"}))
    post, other = (
        replace(each, owner_unless=each.owner_unless if each.owner else ())
        for each in (post, other)
    )
    if found(post, other):
        return
    for principal in everybody:
        if permits(principal, post, ("x", "7", "y")) is None:
            assert permits(principal, other, ("x", "7", "y")) is None

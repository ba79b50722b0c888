"""What a principal may do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route
from sidecar.core.tokens.principal import Kind, Principal, Refusal, permits

SEGMENTS = ("api", "users", "42", "orders")


def user(*permissions: str, subject: str = "42", roles: tuple[str, ...] = ()) -> Principal:
    return Principal(
        Kind.USER,
        subject,
        "zervi",
        roles=roles,
        permissions=permissions,
        granted=frozenset(permissions),
    )


def service(*permissions: str, subject: str = "42") -> Principal:
    return user(*permissions, subject=subject)._replace(kind=Kind.SERVICE)


def route(**requirements: Any) -> Route:
    return Route(0, "r", "/api/users/{user_id}/orders", **requirements)


def reason(principal: Principal, segments: tuple[str, ...] = SEGMENTS, **requirements: Any) -> Any:
    refusal = permits(principal, route(**requirements), segments)
    return refusal and refusal.reason


def test_a_route_without_requirements_lets_every_user_in() -> None:
    """A user, not a service: that is the default."""
    assert permits(user(), route(), SEGMENTS) is None
    assert permits(service(), route(), SEGMENTS) == Refusal(Reason.WRONG_PRINCIPAL_KIND, ("user",))


def test_the_kind_must_be_one_that_the_route_takes() -> None:
    """The refusal names those it takes."""
    both = frozenset({"user", "service"})
    only = frozenset({"service"})
    assert permits(service(), route(principals=both), SEGMENTS) is None
    assert permits(user(), route(principals=both), SEGMENTS) is None
    assert permits(service(), route(principals=only), SEGMENTS) is None
    assert permits(user("*"), route(principals=only), SEGMENTS) == Refusal(
        Reason.WRONG_PRINCIPAL_KIND, ("service",)
    )


def test_the_issuer_must_be_one_that_the_route_names() -> None:
    """Where it names any."""
    named = frozenset({"b", "a"})
    assert permits(user("*"), route(issuers=named), SEGMENTS) == Refusal(
        Reason.WRONG_ISSUER, ("a", "b")
    )
    assert reason(user(), issuers=frozenset({"zervi"})) is None


def test_all_permissions_are_needed() -> None:
    """The refusal names those that are missing, and only those."""
    needs = ("a", "b", "c")
    assert permits(user("b"), route(permissions=needs), SEGMENTS) == Refusal(
        Reason.PERMISSION_DENIED, ("a", "c"), any_of=False
    )
    assert reason(user("c", "a", "b"), permissions=needs) is None


def test_any_of_any_permissions_will_do() -> None:
    """The refusal names them all."""
    any_of = ("a", "b")
    assert permits(user("c"), route(any_permissions=any_of), SEGMENTS) == Refusal(
        Reason.PERMISSION_DENIED, any_of
    )
    assert reason(user("b"), any_permissions=any_of) is None


@pytest.mark.parametrize("held", ["A", "a ", "a:*", "aa", "", "**"])
def test_permissions_match_exactly(held: str) -> None:
    """No case folding, no prefix, no pattern."""
    assert reason(user(held), permissions=("a",)) is Reason.PERMISSION_DENIED
    assert reason(user(held), any_permissions=("a",)) is Reason.PERMISSION_DENIED


def test_the_star_grants_every_permission() -> None:
    """Those that all are needed, and those of which any will do."""
    assert reason(user("*"), permissions=("a", "b"), any_permissions=("c",)) is None


def test_the_star_does_not_grant_roles() -> None:
    """Neither as a permission, nor as a role."""
    assert reason(user("*"), roles=("admin",)) is Reason.ROLE_DENIED
    assert reason(user(roles=("*",)), roles=("admin",)) is Reason.ROLE_DENIED
    assert reason(user(roles=("*",)), permissions=("a",)) is Reason.PERMISSION_DENIED


def test_one_of_the_roles_is_needed() -> None:
    """The refusal names them all."""
    assert permits(user(roles=("guest",)), route(roles=("user", "admin")), SEGMENTS) == Refusal(
        Reason.ROLE_DENIED, ("user", "admin")
    )
    assert reason(user(roles=("guest", "admin")), roles=("user", "admin")) is None
    assert reason(user(roles=("Admin",)), roles=("user", "admin")) is Reason.ROLE_DENIED


@pytest.mark.parametrize(
    ("subject", "segment", "owns"),
    [
        ("42", "42", True),
        ("张三", "张三", True),
        ("42", "43", False),
        ("42", "042", False),
        ("42", "42 ", False),
        ("42", "", False),
        ("Alice", "alice", False),
        ("é", "e\u0301", False),
    ],
)
def test_the_owner_s_subject_is_the_segment_exactly(subject: str, segment: str, owns: bool) -> None:
    """Neither case nor Unicode's several spellings are evened out."""
    segments = ("api", "users", segment, "orders")
    assert (reason(user(subject=subject), segments, owner=2) is None) is owns


def test_not_being_the_owner_is_refused_whatever_the_permissions() -> None:
    """The star does not waive it, another permission does not, the exact one does."""
    unless = ("orders:admin",)
    stranger: dict[str, Any] = {"subject": "43"}
    assert permits(user("*", **stranger), route(owner=2), SEGMENTS) == Refusal(Reason.NOT_OWNER, ())
    assert reason(user("*", **stranger), owner=2, owner_unless=unless) is Reason.NOT_OWNER
    assert reason(user("orders", **stranger), owner=2, owner_unless=unless) is Reason.NOT_OWNER
    assert reason(user("orders:admin", **stranger), owner=2, owner_unless=unless) is None


def test_a_service_owns_nothing() -> None:
    """Though its id be the very segment; the permission that waives it does so for services too."""
    takes: dict[str, Any] = {
        "principals": frozenset({"service"}),
        "owner": 2,
        "owner_unless": ("orders:admin",),
    }
    assert reason(service("*"), **takes) is Reason.NOT_OWNER
    assert reason(service("orders:admin"), **takes) is None


def test_a_path_without_the_owner_s_segment_has_no_owner() -> None:
    """Which no match can give; if it did, the door stays closed."""
    assert reason(user(subject="api"), ("api",), owner=2) is Reason.NOT_OWNER


def test_requirements_are_checked_in_their_order() -> None:
    """Each time the first that fails is the one that is named."""
    asked: dict[str, Any] = {
        "principals": frozenset({"service"}),
        "issuers": frozenset({"other"}),
        "permissions": ("a",),
        "any_permissions": ("b",),
        "roles": ("r",),
        "owner": 2,
    }
    stranger = user(subject="43")
    seen = []
    for key, met in [
        ("principals", frozenset({"user"})),
        ("issuers", frozenset({"zervi"})),
        ("permissions", ()),
        ("any_permissions", ()),
        ("roles", ()),
        ("owner", None),
    ]:
        seen.append(permits(stranger, route(**asked), SEGMENTS))
        asked[key] = met
    assert seen == [
        Refusal(Reason.WRONG_PRINCIPAL_KIND, ("service",)),
        Refusal(Reason.WRONG_ISSUER, ("other",)),
        Refusal(Reason.PERMISSION_DENIED, ("a",), any_of=False),
        Refusal(Reason.PERMISSION_DENIED, ("b",)),
        Refusal(Reason.ROLE_DENIED, ("r",)),
        Refusal(Reason.NOT_OWNER, ()),
    ]
    assert permits(stranger, route(**asked), SEGMENTS) is None


few = st.lists(st.sampled_from(["a", "b", "*"]), max_size=2, unique=True).map(tuple)


@given(
    kind=st.sampled_from(Kind),
    subject=st.sampled_from(["42", "43"]),
    held=few,
    held_roles=few,
    principals=st.sets(st.sampled_from(["user", "service"]), min_size=1),
    issuers=st.sets(st.sampled_from(["zervi", "other"])),
    permissions=few,
    any_permissions=few,
    roles=few,
    owner=st.sampled_from([None, 2]),
    unless=few,
)
def test_it_is_allowed_only_if_every_requirement_holds(
    kind: Kind,
    subject: str,
    held: tuple[str, ...],
    held_roles: tuple[str, ...],
    principals: set[str],
    issuers: set[str],
    permissions: tuple[str, ...],
    any_permissions: tuple[str, ...],
    roles: tuple[str, ...],
    owner: int | None,
    unless: tuple[str, ...],
) -> None:
    """The rule of design 5, said once more in one expression."""
    principal = user(*held, subject=subject, roles=held_roles)._replace(kind=kind)
    asked = route(
        principals=frozenset(principals),
        issuers=frozenset(issuers),
        permissions=permissions,
        any_permissions=any_permissions,
        roles=roles,
        owner=owner,
        owner_unless=unless,
    )
    wanted = (
        kind.value in principals
        and (not issuers or "zervi" in issuers)
        and ("*" in held or set(permissions) <= set(held))
        and ("*" in held or not any_permissions or bool(set(any_permissions) & set(held)))
        and (not roles or bool(set(roles) & set(held_roles)))
        and (owner is None or bool(set(unless) & set(held)) or (kind == "user" and subject == "42"))
    )
    assert (permits(principal, asked, SEGMENTS) is None) is wanted

"""What an issuer's tokens can grant at most, and which subjects they can have."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.principal import (
    IdentityHeaders,
    Principal,
    identity_values,
    permits,
    principal_from_claims,
)

GRANTS = {"admin": ("orders:write", "users:read"), "super_admin": ("*",)}
SEGMENTS = ("users", "8")


def issuer(**limits: Any) -> Issuer:
    return Issuer("partner", frozenset({"RS256"}), role_permissions=GRANTS, **limits)


def principal(limits: dict[str, Any] | None = None, **claims: Any) -> Principal:
    return principal_from_claims({"user_id": 7} | claims, issuer(**(limits or {})))


def may(who: Principal, **requirements: Any) -> bool:
    return permits(who, Route(0, "r", "/users/{id}", **requirements), SEGMENTS) is None


def header(who: Principal, name: str) -> str | None:
    return dict(identity_values(who, IdentityHeaders())).get(name)


ORDERS = {"grantable": ("orders:*", "profile")}


def test_without_limits_nothing_is_taken_away() -> None:
    """As it was before there were any."""
    who = principal(permissions=["a", "*"], role="super_admin")
    assert (who.roles, who.permissions) == (("super_admin",), ("a", "*"))
    assert may(who, permissions=("whatever",))


def test_only_permissions_that_are_listed_are_granted() -> None:
    """A name by itself, or a beginning of names."""
    who = principal(ORDERS, permissions=["orders:read", "profile", "profile:x", "users:read", "o"])
    assert who.permissions == ("orders:read", "profile")
    assert who.granted == {"orders:read", "profile"}
    assert header(who, "x-user-permissions") == "orders:read,profile"


def test_permissions_that_a_role_grants_are_limited_too() -> None:
    """The limit comes after the roles are expanded."""
    who = principal(ORDERS, role="admin")
    assert (who.roles, who.permissions) == (("admin",), ("orders:write",))


@pytest.mark.parametrize("claims", [{"permissions": ["*"]}, {"role": "super_admin"}])
def test_the_star_becomes_what_is_listed(claims: dict[str, Any]) -> None:
    """The token's own and a role's: it holds each permission that a pattern matches, no other."""
    who = principal(ORDERS, **claims)
    assert may(who, permissions=("orders:read", "orders:write", "profile"))
    assert may(who, permissions=("orders:*",))
    assert may(who, any_permissions=("users:read", "orders:x"))
    assert not may(who, permissions=("orders:read", "users:read"))
    assert not may(who, any_permissions=("users:read", "profile:x"))
    assert not may(who, permissions=("*",))
    assert header(who, "x-user-permissions") == "orders:*,profile"


def test_what_is_missing_is_named_and_nothing_else() -> None:
    """Beside what a pattern holds."""
    route = Route(0, "r", "/x", permissions=("orders:read", "users:read", "profile"))
    refusal = permits(principal(ORDERS, permissions=["*"]), route, SEGMENTS)
    assert refusal is not None
    assert refusal.needs == ("users:read",)


def test_a_pattern_in_a_token_is_text() -> None:
    """``orders:*`` in a token is not a pattern: it grants only the permission of that name."""
    who = principal(ORDERS, permissions=["orders:*"])
    assert who.permissions == ("orders:*",)
    assert may(who, permissions=("orders:*",))
    assert not may(who, permissions=("orders:read",))
    assert header(who, "x-user-permissions") == "orders:*"


def test_text_and_pattern_of_the_same_spelling_are_listed_once() -> None:
    """The upstream's header has each name once, text first."""
    who = principal(ORDERS, permissions=["orders:*", "*"])
    assert header(who, "x-user-permissions") == "orders:*,profile"
    assert may(who, permissions=("orders:read",))


def test_the_star_is_grantable_where_it_is_listed() -> None:
    """``["*"]`` does not limit."""
    who = principal({"grantable": ("*",)}, permissions=["*", "x"])
    assert who.permissions == ("*", "x")
    assert may(who, permissions=("anything",))


@pytest.mark.parametrize("limits", [{"grantable": ()}, {"grantable": (), "grantable_roles": None}])
def test_an_empty_list_grants_nothing(limits: dict[str, Any]) -> None:
    """Such an issuer says who somebody is, and no more."""
    who = principal(limits, permissions=["*", "orders:read"], role="admin")
    assert (who.permissions, who.granted) == ((), frozenset())
    assert who.roles == ("admin",)
    assert not may(who, permissions=("orders:read",))
    assert header(who, "x-user-permissions") is None


def test_a_role_that_is_not_grantable_is_not_held_and_grants_nothing() -> None:
    """Though its permissions by themselves were grantable."""
    limits = {"grantable": ("orders:*",), "grantable_roles": ("user", "team-*")}
    who = principal(limits, roles=["admin", "team-a", "team-", "Team-b", "users", "user"])
    assert who.roles == ("team-a", "team-", "user")
    assert who.permissions == ()
    assert not may(who, roles=("admin",))
    assert header(who, "x-user-role") == "team-a,team-,user"


def test_a_role_named_star_is_not_every_role() -> None:
    """Roles have no star."""
    who = principal({"grantable_roles": ("team-*",)}, roles=["*"])
    assert who.roles == ()


@pytest.mark.parametrize("grantable", [("orders:admin",), ("orders:*",), ("*",)])
def test_what_came_of_the_star_waives_no_owner(grantable: tuple[str, ...]) -> None:
    """As the star itself: a limit never opens what was closed without it."""
    owned: dict[str, Any] = {"owner": 1, "owner_unless": ("orders:admin",)}
    assert not may(principal(permissions=["*"]), **owned)
    assert not may(principal({"grantable": grantable}, permissions=["*"]), **owned)
    assert may(principal({"grantable": grantable}, permissions=["orders:admin"]), **owned)


def test_principals_that_hold_the_same_share_it_in_memory() -> None:
    """With limits as without."""
    claims = {"permissions": ["orders:a", "x", "*"], "roles": ["admin", "guest"]}
    limits = ORDERS | {"grantable_roles": ("admin",)}
    one, other = principal(limits, **claims), principal(limits, user_id=8, **claims)
    assert one.permissions is other.permissions
    assert one.granted is other.granted
    assert one.roles is other.roles
    assert one.patterns is other.patterns


NAMES = st.sampled_from(["*", "a", "a:*", "a:b", "a:", "ab", "b", "b:c"])
LISTS = st.lists(NAMES, max_size=3, unique=True).map(tuple)


def matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


@given(
    own=LISTS,
    role=LISTS,
    grantable=LISTS,
    permissions=LISTS,
    any_permissions=LISTS,
    unless=LISTS,
)
def test_a_limit_allows_what_the_rule_says_and_nothing_that_was_closed_without_it(
    own: tuple[str, ...],
    role: tuple[str, ...],
    grantable: tuple[str, ...],
    permissions: tuple[str, ...],
    any_permissions: tuple[str, ...],
    unless: tuple[str, ...],
) -> None:
    """The rule, said once more: held is what is written and listed, or what a star came to."""
    claims = {"user_id": 7, "permissions": list(own), "role": "r"}
    grants = {"r": role}
    free = principal_from_claims(claims, Issuer("i", frozenset(), role_permissions=grants))
    limited = principal_from_claims(
        claims, Issuer("i", frozenset(), role_permissions=grants, grantable=grantable)
    )

    def holds(name: str) -> bool:
        written = {*own, *role}
        listed = any(matches(pattern, name) for pattern in grantable)
        return listed and (name in written or "*" in written)

    asked: dict[str, Any] = {"permissions": permissions, "any_permissions": any_permissions}
    wanted = all(map(holds, permissions)) and (
        not any_permissions or any(map(holds, any_permissions))
    )
    assert may(limited, **asked) is wanted
    assert may(free, **asked) or not wanted
    owned: dict[str, Any] = {"owner": 1, "owner_unless": unless}
    assert may(free, **owned) or not may(limited, **owned)


def refused(pattern: str, value: object) -> bool:
    try:
        principal({"subject_pattern": pattern}, user_id=value)
    except TokenError as error:
        return error.reason is Reason.TOKEN_CLAIMS
    return False


@pytest.mark.parametrize(
    "value", ["07", " 7", "7 ", "+7", "-7", "７", "٧", "7_0", "7\n", "7\u00a0", "0", "", 0, -7, "x"]
)
def test_a_subject_that_does_not_match_is_refused(value: object) -> None:
    """Each of these is 7, or some number, to an upstream's ``int()``, or no id at all."""
    assert refused("[1-9][0-9]*", value)
    assert refused(r"[1-9]\d*", value)


@pytest.mark.parametrize("value", [7, "7", "70", 10**18])
def test_a_subject_that_matches_is_taken(value: object) -> None:
    """The whole of it."""
    assert not refused("[1-9][0-9]*", value)
    assert not refused(r"[1-9]\d*", value)


def test_the_pattern_holds_for_services_too() -> None:
    """A service's id is its token's subject."""
    limits = {"subject_pattern": "[1-9][0-9]*|svc-[a-z]+"}
    assert principal(limits, service_id="svc-a").subject == "svc-a"
    with pytest.raises(TokenError):
        principal(limits, service_id="svc-A")


def test_an_overlong_subject_matches_no_pattern() -> None:
    """So that the time a pattern takes is bounded."""
    assert not refused("[0-9]+", "1" * 128)
    assert refused("[0-9]+", "1" * 129)

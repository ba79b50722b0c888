"""Who the claims prove."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.reasons import Reason
from sidecar.core.routes.patterns import parse_pattern
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import ClaimNames, Issuer
from sidecar.core.tokens.name_lists import shared
from sidecar.core.tokens.principal import Kind, Principal, principal_from_claims

ISSUER = Issuer(
    "zervi",
    frozenset({"RS256"}),
    role_permissions={"admin": ("cluster:manage", "data:read"), "super_admin": ("*",)},
)


def principal(issuer: Issuer = ISSUER, **claims: Any) -> Principal:
    return principal_from_claims({"user_id": 7} | claims, issuer)


def refused(**claims: Any) -> bool:
    with pytest.raises(TokenError) as caught:
        principal_from_claims(claims, ISSUER)
    return caught.value.reason is Reason.TOKEN_CLAIMS


# Design 6: what Zervi's services issue today.
UNIFIED_AUTH = {
    "user_id": 42,
    "username": "alice",
    "email": "alice@jobfirst.local",
    "role": "admin",
    "level": 3,
    "permissions": None,
    "iss": "jobfirst-auth",
    "sub": "42",
}
USER_SERVICE = {"user_id": 42, "username": "alice", "role": "user"}
GATEWAY = {"user_id": "42", "roles": ["user", "editor"], "metadata": {"a": [1]}}
COMMON_JWT = {"user_id": 42, "aud": ["jobfirst-users"], "iss": "jobfirst", "role": "user"}
SERVICE = {
    "service_id": "resume-service",
    "service_name": "Resume",
    "allowed_apis": ["/api/*"],
    "iss": "zervigo-service-auth",
}
OBJECT_PERMISSIONS = {"user_id": 42, "permissions": {"data:read": True}, "exp": 1.5e9}


@pytest.mark.parametrize(
    ("claims", "wanted"),
    [
        pytest.param(
            UNIFIED_AUTH,
            Principal(
                Kind.USER,
                "42",
                "zervi",
                "alice",
                "alice@jobfirst.local",
                ("admin",),
                ("cluster:manage", "data:read"),
                frozenset({"cluster:manage", "data:read"}),
            ),
            id="unified-auth",
        ),
        pytest.param(
            USER_SERVICE,
            Principal(Kind.USER, "42", "zervi", "alice", roles=("user",)),
            id="user-service",
        ),
        pytest.param(
            GATEWAY, Principal(Kind.USER, "42", "zervi", roles=("user", "editor")), id="gateway"
        ),
        pytest.param(
            COMMON_JWT, Principal(Kind.USER, "42", "zervi", roles=("user",)), id="common/jwt"
        ),
        pytest.param(
            SERVICE,
            Principal(Kind.SERVICE, "resume-service", "zervi", apis=(parse_pattern("/api/*"),)),
            id="a service",
        ),
        pytest.param(
            OBJECT_PERMISSIONS, Principal(Kind.USER, "42", "zervi"), id="permissions an object"
        ),
    ],
)
def test_today_s_tokens_name_their_principals(claims: dict[str, Any], wanted: Principal) -> None:
    """Every variant that is known from JobFirst's code."""
    assert principal_from_claims(claims, ISSUER) == wanted


@pytest.mark.parametrize(
    ("claims", "subject"),
    [
        ({"user_id": "u-1", "sub": "other"}, "u-1"),
        ({"user_id": 1, "sub": "other"}, "1"),
        ({"user_id": 0}, "0"),
        ({"user_id": -1}, "-1"),
        ({"user_id": 10**63}, "1" + "0" * 63),
        ({"user_id": None, "sub": "s"}, "s"),
        ({"user_id": "", "sub": "s"}, "s"),
        ({"sub": "s"}, "s"),
        ({"sub": 5}, "5"),
        ({"sub": " "}, " "),
        ({"sub": "用户"}, "用户"),
    ],
)
def test_the_subject_is_the_first_claim_that_says_something(
    claims: dict[str, Any], subject: str
) -> None:
    """Text as it is, an integer as text."""
    assert principal_from_claims(claims, ISSUER).subject == subject


@pytest.mark.parametrize("value", [True, False, 1.0, [], ["u"], {}, {"id": "u"}])
def test_a_subject_that_is_neither_text_nor_integer_is_refused(value: object) -> None:
    """The next claim does not step in: the issuer meant this one."""
    assert refused(user_id=value, sub="s")
    assert refused(sub=value)


@pytest.mark.parametrize("claims", [{}, {"user_id": None, "sub": ""}, {"username": "alice"}])
def test_a_token_without_a_subject_is_refused(claims: dict[str, Any]) -> None:
    """Nobody is nobody's default."""
    assert refused(**claims)


def test_claims_are_found_under_the_names_of_the_issuer() -> None:
    """Subject, username and email: the first; roles and permissions: all."""
    names = ClaimNames(("uid",), ("nick", "name"), ("mail",), ("groups", "role"), ("scp", "perms"))
    issuer = Issuer("other", frozenset({"RS256"}), claims=names)
    claims = {
        "uid": "u",
        "user_id": 1,
        "nick": "",
        "name": "n",
        "mail": "m",
        "groups": ["g"],
        "role": "r",
        "roles": ["not"],
        "scp": ["a"],
        "perms": ["b", "a"],
        "permissions": ["not"],
    }
    assert principal_from_claims(claims, issuer) == Principal(
        Kind.USER, "u", "other", "n", "m", ("g", "r"), ("a", "b"), frozenset({"a", "b"})
    )


def test_a_service_is_a_service_whatever_else_it_carries() -> None:
    """Its subject is service_id, and it is given no user's name."""
    found = principal(service_id="svc", sub="42", username="alice", email="a@b", role="admin")
    assert found == Principal(
        Kind.SERVICE,
        "svc",
        "zervi",
        roles=("admin",),
        permissions=("cluster:manage", "data:read"),
        granted=frozenset({"cluster:manage", "data:read"}),
    )
    assert principal(service_id=5).subject == "5"


def test_a_service_id_of_null_is_none() -> None:
    """So says a Go struct whose field is empty."""
    assert principal(service_id=None).kind is Kind.USER


@pytest.mark.parametrize("value", ["", False, True, 1.5, [], {}, ["svc"]])
def test_a_service_without_a_proper_id_is_refused(value: object) -> None:
    """It never falls back to being a user."""
    assert refused(service_id=value, user_id=42, sub="42")


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({"role": "a", "roles": ["b", "a", "c", "b"]}, ("a", "b", "c")),
        ({"roles": "b"}, ("b",)),
        ({"role": ["a"]}, ("a",)),
        ({"role": "", "roles": ["", "a"]}, ("a",)),
        ({"role": "a,b c"}, ("a,b c",)),
        ({"role": None, "roles": None}, ()),
        ({"role": 1, "roles": {"a": True}}, ("1",)),
        ({"role": True, "roles": [1, None, ["a"], {"a": 1}, 1.5, False, "b"]}, ("1", "b")),
    ],
)
def test_roles_are_the_union_of_role_and_roles(
    claims: dict[str, Any], roles: tuple[str, ...]
) -> None:
    """Each once, in order; integers as text; what else is not text is ignored."""
    assert principal(**claims).roles == roles


def test_those_who_hold_the_same_share_it() -> None:
    """Ten thousand cached tokens of a few roles are not ten thousand lists of permissions."""
    one, other = (principal(sub=sub, role="admin", permissions=["a", "b"]) for sub in "12")
    assert one.roles is other.roles
    assert one.permissions is other.permissions
    assert one.granted is other.granted


@pytest.mark.parametrize(
    "value", [None, "data:read", "*", 1, True, {"*": True}, [], [None, 1.0, True, ["*"], {}]]
)
def test_permissions_that_are_not_a_list_of_text_are_ignored(value: object) -> None:
    """In particular, text is not a list of one."""
    found = principal(permissions=value)
    assert (found.permissions, found.granted) == ((), frozenset())


def test_permissions_are_the_token_s_own_and_those_of_its_roles() -> None:
    """Each once, the token's own first."""
    found = principal(permissions=["x", "data:read", 5, "x", ""], roles=["admin", "super_admin"])
    assert found.permissions == ("x", "data:read", "5", "cluster:manage", "*")
    assert found.granted == set(found.permissions)


def test_a_number_is_a_name_as_text() -> None:
    """Some issuers name their users by a number."""
    found = principal(username=5, email=0)
    assert (found.username, found.email) == ("5", "0")


@pytest.mark.parametrize("value", [5.0, True, [], {}, ["alice"]])
def test_a_name_that_is_not_text_is_ignored(value: object) -> None:
    """The token is not refused."""
    found = principal(username=value, email=value)
    assert (found.username, found.email) == (None, None)


def test_roles_that_grant_100_000_permissions_are_refused() -> None:
    """No header could hold them; counting stops early."""
    many = Issuer("big", frozenset(), role_permissions={"all": tuple(map(str, range(100_000)))})
    with pytest.raises(TokenError) as caught:
        principal(many, role="all")
    assert caught.value.reason is Reason.TOKEN_CLAIMS


def test_what_is_said_twice_counts_once() -> None:
    """Towards the limit too."""
    twice = Issuer("i", frozenset(), role_permissions=dict.fromkeys("xy", ("a" * 5000,)))
    assert principal(twice, roles=["x", "y"]).permissions == ("a" * 5000,)


claim_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
names = ("user_id", "sub", "service_id", "username", "email", "role", "roles", "permissions")


@given(st.dictionaries(st.sampled_from(names), claim_values))
def test_any_claims_give_a_well_formed_principal_or_a_refusal(claims: dict[str, Any]) -> None:
    """Nothing else is raised, and every field is of its type."""
    try:
        found = principal_from_claims(claims, ISSUER)
    except TokenError:
        return
    assert found.subject
    assert all(
        isinstance(value, str) for value in (found.subject, *found.roles, *found.permissions)
    )
    assert (found.kind is Kind.SERVICE) == (claims.get("service_id") is not None)
    assert found.granted == set(found.permissions)
    own = claims.get("permissions")
    if not found.roles:
        assert found.granted <= set(map(str, own if isinstance(own, list) else ()))


@given(st.lists(st.lists(st.sampled_from(["", "a", "b", "c"])), max_size=3))
def test_a_list_that_is_known_is_read_as_one_that_is_new(parts: list[list[str]]) -> None:
    """Each name once, in order, and never the empty one, whatever was read before."""
    expected = tuple(dict.fromkeys(name for part in parts for name in part if name))
    for _ in range(2):
        assert shared(parts) == (expected, frozenset(expected))

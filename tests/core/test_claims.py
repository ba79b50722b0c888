"""Where a token's claims hold roles, permissions and further headers: names, paths, split texts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.reasons import Reason
from sidecar.core.tokens.claims import MAX_REACHED, MAX_STEPS, Claim, Path, Split
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import ClaimNames, Issuer
from sidecar.core.tokens.name_lists import MAX_IDENTITY_BYTES
from sidecar.core.tokens.principal import (
    IdentityHeaders,
    Principal,
    identity_values,
    principal_from_claims,
)

KEYCLOAK = {
    "realm_access": {"roles": ["offline_access", "editor"]},
    "resource_access": {"account": {"roles": ["view-profile"]}, "shop": {"roles": ["buyer"]}},
    "scope": "openid  profile * orders:read",
}
SCOPE = Split("scope", " ")


def principal(claims: dict[str, Any], **names: Any) -> Principal:
    return principal_from_claims(
        {"user_id": 7} | claims, Issuer("i", frozenset(), claims=ClaimNames(**names))
    )


def roles(claims: dict[str, Any], *among: Claim) -> tuple[str, ...]:
    return principal(claims, roles=among).roles


def permissions(claims: dict[str, Any], *among: Claim) -> tuple[str, ...]:
    return principal(claims, permissions=among).permissions


def headers(claims: dict[str, Any], **among: tuple[Claim, ...]) -> dict[str, str]:
    found = principal(
        claims, headers={name.replace("_", "-"): each for name, each in among.items()}
    )
    own = {"x-user-id", "x-user-issuer"}
    values = dict(identity_values(found, IdentityHeaders()))
    return {name: value for name, value in values.items() if name not in own}


def test_the_roles_of_a_realm_and_of_every_client_are_one_list() -> None:
    """Keycloak's, in the order of the configuration."""
    paths = (Path(("realm_access", "roles")), Path(("resource_access", "*", "roles")))
    assert roles(KEYCLOAK, "role", "roles", *paths) == (
        *("offline_access", "editor"),
        *("view-profile", "buyer"),
    )


@pytest.mark.parametrize(
    ("claims", "claim", "wanted"),
    [
        ({"a.b": ["x"], "a": {"b": ["y"]}}, "a.b", ("x",)),
        ({"https://x/roles": ["x"]}, "https://x/roles", ("x",)),
        ({"*": ["x"], "a": ["y"]}, "*", ("x",)),
        ({"a": {"b": "x"}}, Path(("a", "b")), ("x",)),
        ({"a": {"b": 3}}, Path(("a", "b")), ("3",)),
        ({"a": {"b": [1, "x", 2.5, True, None, ["y"], {"z": 1}]}}, Path(("a", "b")), ("1", "x")),
        ({"a": {"b": {"c": 1}}}, Path(("a", "b")), ()),
        (
            {"a": [{"name": "x"}, {"name": ["y", "z"]}, {}, "w", 1]},
            Path(("a", "name")),
            tuple("xyz"),
        ),
        ({"a": {"b": {"x": True, "y": {}, "z": []}}}, Path(("a", "b", "*")), tuple("xyz")),
        ({"a": {"x": False, "y": None, "z": 0, "w": ""}}, Path(("a", "*")), ()),
        ({"a": [{"x": True}, {"y": 1}]}, Path(("a", "*")), ("x", "y")),
        ({"a": {"b": {"*": ["x"]}}}, Path(("a", "b", "*")), ("*",)),
        ({"a": "text"}, Path(("a", "b")), ()),
        ({"a": None}, Path(("a", "b")), ()),
        ({}, Path(("a", "*", "b")), ()),
        ({"a": {"b": {"c": {"x": 1}}}}, Path(("a", "*", "*", "*")), ("x",)),
    ],
)
def test_a_claim_leads_to_what_it_names_and_nothing_else(
    claims: dict[str, Any], claim: Claim, wanted: tuple[str, ...]
) -> None:
    """A name is literal; ``*`` is every key; a step into a list is one into each object."""
    assert roles(claims, claim) == wanted


def test_a_text_is_one_role_and_no_permission() -> None:
    """It may hold several; in a list or under several keys it is one of them."""
    claims = {"p": "a b", "deep": {"p": "c"}, "list": [{"p": "d"}], "keys": {"x": {"p": "e"}}}
    paths = (Path(("deep", "p")), Path(("list", "p")), Path(("keys", "*", "p")))
    assert roles(claims, "p", *paths) == ("a b", "c", "d", "e")
    assert permissions(claims, "p", *paths) == ("d", "e")


@pytest.mark.parametrize(
    ("value", "separator", "wanted"),
    [
        ("a b", " ", ("a", "b")),
        ("  a   b ", " ", ("a", "b")),
        ("a,b", " ", ("a,b",)),
        ("a, b,,c", ",", ("a", "b", "c")),
        (["a b", "c"], " ", ("a", "b", "c")),
        ("", " ", ()),
        (5, " ", ("5",)),
        ({"a": 1}, " ", ()),
        (None, " ", ()),
        (True, " ", ()),
    ],
)
def test_a_text_is_split_where_it_is_said(
    value: object, separator: str, wanted: tuple[str, ...]
) -> None:
    """Also in a list, as some issuers send their scopes."""
    assert permissions({"scope": value}, Split("scope", separator)) == wanted


@pytest.mark.parametrize("value", ["*", "a *", "* a", ["*"], ["a", "* b"]])
def test_a_star_from_a_split_claim_never_means_all(value: object) -> None:
    """A client can ask for such a scope."""
    found = principal({"scope": value}, permissions=(SCOPE,), roles=(SCOPE,))
    assert "*" not in found.granted
    assert "*" not in found.roles


def test_scopes_are_not_permissions_by_default() -> None:
    """They say what the client may do, not the user."""
    claims = {"user_id": 7, "scope": "orders:read", "scp": ["orders:read"]}
    assert principal_from_claims(claims, Issuer("i", frozenset())).permissions == ()


def test_a_path_names_the_user() -> None:
    """The first claim that is not empty, as for names."""
    subject: tuple[Claim, ...] = (Path(("ext", "uid")), "sub")
    claims = {"ext": {"uid": 9, "name": "n"}, "sub": "s"}
    found = principal(claims, subject=subject, username=(Path(("ext", "name")),))
    assert (found.subject, found.username) == ("9", "n")
    assert principal({"ext": {"uid": ""}, "sub": "s"}, subject=subject).subject == "s"


@pytest.mark.parametrize(
    "ext", [[{"uid": "1"}], [], {"uid": ["1"]}, {"uid": {"a": 1}}, {"uid": True}]
)
def test_a_path_through_a_list_names_nobody(ext: object) -> None:
    """Which of them is meant is unknown, and the next claim does not step in."""
    with pytest.raises(TokenError) as caught:
        principal({"ext": ext, "sub": "s"}, subject=(Path(("ext", "uid")), "sub"))
    assert caught.value.reason is Reason.TOKEN_CLAIMS


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("t-1", "t-1"),
        ("Doe, J", "Doe,%20J"),
        ("张\r\n", "%E5%BC%A0%0D%0A"),
        (5, "5"),
        (0, "0"),
        (True, "true"),
        (False, "false"),
        (["a", "b,c", 3], "a,b%2Cc,3"),
    ],
)
def test_a_claim_becomes_a_header(value: object, wanted: str) -> None:
    """Escaped as the identity headers are."""
    assert headers({"tid": value}, x_tenant=("tid",)) == {"x-tenant": wanted}


@pytest.mark.parametrize("value", [None, "", [], {}, {"a": 1}, 1.5, [{}], [None]])
def test_a_claim_without_a_value_is_no_header(value: object) -> None:
    """The next claim steps in, and without one the client's header is removed."""
    assert headers({"tid": value}, x_tenant=("tid",)) == {}
    assert headers({"tid": value, "org": "o"}, x_tenant=("tid", "org")) == {"x-tenant": "o"}


def test_a_header_takes_every_form_of_a_claim() -> None:
    """Names, paths and split texts."""
    claims = {"org": {"id": "o", "teams": {"x": 1, "y": 1}}, "scope": "a b"}
    among: dict[str, tuple[Claim, ...]] = {
        "x_org": (Path(("org", "id")),),
        "x_teams": (Path(("org", "teams", "*")),),
        "x_scopes": (SCOPE,),
    }
    assert headers(claims, **among) == {"x-org": "o", "x-teams": "x,y", "x-scopes": "a,b"}


@pytest.mark.parametrize("value", ["x" * MAX_IDENTITY_BYTES, ["x" * 100] * 1 + ["y" * 8192]])
def test_a_header_from_claims_counts_towards_the_bound(value: object) -> None:
    """Of all identity headers together."""
    with pytest.raises(TokenError) as caught:
        headers({"tid": value}, x_tenant=("tid",))
    assert caught.value.reason is Reason.TOKEN_CLAIMS


@pytest.mark.parametrize(
    "claim",
    [Path(("a", "*")), Path(("a", "*", "b")), Path(("l", "b")), Split(Path(("l", "b")), " ")],
)
def test_what_one_path_reaches_is_bounded(claim: Claim) -> None:
    """An object of 10,000 keys is refused, not cut off."""
    many = {str(number): {"b": "x"} for number in range(10_000)}
    with pytest.raises(TokenError) as caught:
        roles({"a": many, "l": list(many.values())}, claim)
    assert caught.value.reason is Reason.TOKEN_CLAIMS
    few = dict(list(many.items())[:MAX_REACHED])
    assert roles({"a": few, "l": list(few.values())}, claim)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.sampled_from(["", "*", "a b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc*"), inner, max_size=3)
    ),
    max_leaves=12,
)
paths = st.lists(st.sampled_from("abc*"), min_size=1, max_size=MAX_STEPS).map(tuple).map(Path)
every_claim = st.sampled_from("abc") | paths | st.builds(Split, st.just("a") | paths, st.just(" "))


@given(st.dictionaries(st.sampled_from("abc"), json_values), st.lists(every_claim, max_size=3))
def test_any_claims_are_read_without_an_error(claims: dict[str, Any], among: list[Claim]) -> None:
    """Roles and permissions are text, and permissions are among the roles: they need more."""
    several = tuple(among)
    found = principal(claims, roles=several, permissions=several, headers={"x-a": several})
    assert all(isinstance(each, str) and each for each in (*found.roles, *found.permissions))
    assert {*found.permissions} <= {*found.roles}
    assert all(value for _, value in found.headers)

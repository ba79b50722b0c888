"""Conditions on claims, owners by another claim, callers by mesh identity, optional tokens."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.reasons import Reason
from sidecar.core.routes.conditions import MAX_KEPT_ITEMS, MAX_KEPT_TEXT, Condition, keep
from sidecar.core.routes.table import PolicyError, Route
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.principal import permits, principal_from_claims
from tests.support.policies import HS256, NOW, bearer, claims, policy, request, snapshot

TENANT = Condition(("tenant",), segments=(1,))
VERIFIED = Condition(("email_verified",), flags=frozenset({True}))
DEPARTMENT = Condition(("department",), texts=frozenset({"finance", "audit"}))
NESTED = Condition(("realm", "level"), texts=frozenset({"3"}))


def reason(route: Route, target: bytes = b"/t/acme", **claims: Any) -> Reason:
    decision = decide(request(target, headers=bearer(**claims)), snapshot([route]), {}, NOW)
    assert isinstance(decision, Allow | Deny)
    return decision.reason


@pytest.mark.parametrize(
    ("condition", "claims", "holds"),
    [
        (TENANT, {"tenant": "acme"}, True),
        (TENANT, {"tenant": ["other", "acme"]}, True),
        (TENANT, {"tenant": "Acme"}, False),
        (TENANT, {"tenant": ""}, False),
        (TENANT, {"tenant": None}, False),
        (TENANT, {"tenant": {"acme": 1}}, False),
        (TENANT, {"tenant": [["acme"]]}, False),
        (TENANT, {}, False),
        (TENANT, {"tenant": ["acme"] * (MAX_KEPT_ITEMS + 1)}, False),
        (VERIFIED, {"email_verified": True}, True),
        (VERIFIED, {"email_verified": "true"}, False),
        (VERIFIED, {"email_verified": 1}, False),
        (VERIFIED, {"email_verified": False}, False),
        (DEPARTMENT, {"department": "audit"}, True),
        (DEPARTMENT, {"department": ["x", "finance"]}, True),
        (DEPARTMENT, {"department": "sales"}, False),
        (DEPARTMENT, {"department": []}, False),
        (NESTED, {"realm": {"level": 3}}, True),
        (NESTED, {"realm": {"level": "3"}}, True),
        (NESTED, {"realm": {"level": 3.0}}, False),
        (NESTED, {"realm": [{"level": 3}]}, False),
        (NESTED, {"realm.level": 3}, False),
    ],
)
def test_a_claim_must_have_one_of_the_values(
    condition: Condition, claims: dict[str, Any], holds: bool
) -> None:
    route = Route(0, "r", "/t/{tenant}", claims=(condition,))
    assert reason(route, **claims) is (Reason.OK if holds else Reason.CLAIM_DENIED)
    assert reason(route, permissions=["*"], **claims) is (
        Reason.OK if holds else Reason.CLAIM_DENIED
    )


def test_every_condition_is_needed_and_the_denial_names_the_first_that_fails() -> None:
    route = Route(0, "r", "/t/{tenant}", claims=(VERIFIED, TENANT))
    asked = request(b"/t/acme", headers=bearer(email_verified=True, tenant="other"))
    decision = decide(asked, snapshot([route]), {}, NOW)
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.needs) == (Reason.CLAIM_DENIED, ("tenant",))


def test_a_condition_reads_what_the_name_between_literals_takes() -> None:
    route = Route(0, "r", "/t/{tenant}:export", claims=(TENANT,))
    assert reason(route, b"/t/acme:export", tenant="acme") is Reason.OK
    assert reason(route, b"/t/acme:export", tenant="acme:export") is Reason.CLAIM_DENIED


@pytest.mark.parametrize("target", [b"/t/acme", b"/t/acme/", b"/t/%61cme", b"/T/acme"])
def test_no_spelling_of_a_tenants_path_is_anothers(target: bytes) -> None:
    route = Route(0, "r", "/t/{tenant}", claims=(TENANT,))
    assert reason(route, target, tenant="other") in {Reason.CLAIM_DENIED, Reason.NO_ROUTE}


def test_only_what_the_policy_names_is_kept_within_bounds() -> None:
    claims = {"a": "x" * MAX_KEPT_TEXT, "b": "x" * (MAX_KEPT_TEXT + 1), "c": 1, "d": [1, "x", {}]}
    kept = keep(claims, [("a",), ("b",), ("d",), ("e",)])
    assert kept == ((("a",), "x" * MAX_KEPT_TEXT), (("d",), ("1", "x")))


def test_the_owner_may_be_another_claim_than_the_subject() -> None:
    route = Route(0, "r", "/t/{id}", owner=1, owner_claim=("sub",))
    assert reason(route, user_id=7, sub="acme") is Reason.OK
    assert reason(route, user_id="acme", sub="x") is Reason.NOT_OWNER
    assert reason(route, user_id="acme") is Reason.NOT_OWNER
    assert reason(route, user_id=7, sub=["acme"]) is Reason.NOT_OWNER


ORDERS = "spiffe://cluster.local/ns/shop/sa/orders"
CALLED = Route(0, "r", "/internal", callers=frozenset({ORDERS}))


@pytest.mark.parametrize(
    ("peer", "wanted"),
    [
        (ORDERS, Reason.OK),
        ("", Reason.WRONG_CALLER),
        (ORDERS + "x", Reason.WRONG_CALLER),
        (ORDERS.upper(), Reason.WRONG_CALLER),
    ],
)
def test_only_the_callers_of_the_route_pass(peer: str, wanted: Reason) -> None:
    headers = {**bearer(), "x-forwarded-client-cert": (f"URI={ORDERS}".encode(),)}
    asked = request(b"/internal", headers=headers)._replace(peer=peer)
    decision = decide(asked, snapshot([CALLED]), {}, NOW)
    assert isinstance(decision, Allow | Deny)
    assert decision.reason is wanted
    if isinstance(decision, Deny):
        assert (peer or "no mesh identity") in decision.detail  # an operator sees who called


OPTIONAL = Route(0, "r", "/feed", optional=True)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, Reason.PUBLIC),
        ({"authorization": (b"Basic YTpi",)}, Reason.PUBLIC),
        (bearer(), Reason.OK),
        (bearer(exp=int(NOW) - 3600), Reason.TOKEN_EXPIRED),
        ({"authorization": (b"Bearer x.y.z",)}, Reason.TOKEN_MALFORMED),
        ({"authorization": (b"Bearer a", b"Bearer b")}, Reason.MULTIPLE_CREDENTIALS),
    ],
)
def test_an_optional_token_may_be_missing_but_not_bad(
    headers: dict[str, tuple[bytes, ...]], wanted: Reason
) -> None:
    decision = decide(request(b"/feed", headers=headers), snapshot([OPTIONAL]), {}, NOW)
    assert isinstance(decision, Allow | Deny)
    assert decision.reason is wanted
    assert (decision.verified is not None) == (wanted is Reason.OK)


@pytest.mark.parametrize(
    "required",
    [
        {"permissions": ("p",)},
        {"any_permissions": ("p",)},
        {"roles": ("r",)},
        {"owner": 0},
        {"claims": (VERIFIED,)},
        {"callers": frozenset({ORDERS})},
    ],
)
@pytest.mark.parametrize("kind", ["optional", "public"])
def test_what_passes_without_a_token_requires_nothing(kind: str, required: dict[str, Any]) -> None:
    route = Route(0, "r", "/{id}", **required)
    route = replace(route, optional=kind == "optional", public=kind == "public")
    with pytest.raises(PolicyError) as refusal:
        policy([route])
    assert refusal.value.problems[0].key in required


def test_another_reading_with_conditions_counts() -> None:
    routes = [Route(0, "a", "/t/{x}", public=True), Route(1, "b", "/t/admin", claims=(VERIFIED,))]
    for target in (b"/t/Admin", b"/t/admin.json"):
        decision = decide(request(target, headers=bearer()), snapshot(routes), {}, NOW)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.CLAIM_DENIED


COOKIE = TokenSource("cookie", "session")
FEED = Route(0, "r", "/feed", methods=frozenset({"POST"}), public=True)
READ = Route(1, "g", "/feed", methods=frozenset({"GET"}))


@pytest.mark.parametrize("routes", [[OPTIONAL], [FEED, READ]])
@pytest.mark.parametrize(("method", "named"), [("POST", b"GET"), ("GET", b"POST")])
def test_a_method_in_the_query_lends_no_identity_to_another_site(
    routes: list[Route], method: str, named: bytes
) -> None:
    """An upstream may obey either method, and a cookie counts only if both are safe."""
    _, token = bearer()["authorization"][0].split()
    target = b"/feed?_method=" + named
    judged = snapshot(routes, sources=(COOKIE,))
    cookie = {"cookie": (b"session=" + token,)}
    crossed = decide(request(target, method, cookie), judged, {}, NOW)
    wanted = Reason.PUBLIC if routes == [OPTIONAL] else Reason.TOKEN_MISSING
    assert isinstance(crossed, Allow | Deny)
    assert (crossed.reason, crossed.verified) == (wanted, None)
    own = {**cookie, "sec-fetch-site": (b"same-origin",)}
    allowed = decide(request(target, method, own), judged, {}, NOW)
    assert isinstance(allowed, Allow)
    assert allowed.verified is not None


def test_a_missing_claim_owns_no_missing_segment() -> None:
    """Some readings of a path are shorter than the route's own."""
    owned = Route(0, "r", "/t/{tenant}", owner=1, owner_claim=("tenant",))
    for tenant, owns in ((None, False), ("acme", True)):
        principal = principal_from_claims(claims(tenant=tenant), HS256, [("tenant",)])
        assert (permits(principal, owned, ("t", "acme")) is None) is owns
        assert permits(principal, owned, ("t",)) is not None

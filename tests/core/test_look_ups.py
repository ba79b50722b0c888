"""What a decision asks of Zervi, and how answers become part of it: plain values only."""

from typing import Any

import pytest

from demo import minting
from sidecar.core.decision import Allow, Needs, decide, still_valid
from sidecar.core.reasons import Reason
from sidecar.core.tokens.lookups import (
    MAX_SUBJECT_CHARS,
    Answer,
    Ended,
    LookUp,
    NeedsPermissions,
    PermissionRule,
)
from sidecar.core.tokens.verify import Verified
from tests.core.look_ups import (
    ALWAYS,
    FOR_7,
    MISSING,
    ROUTES,
    asking,
    decided,
    permissions,
    principal,
    reason,
)
from tests.support.policies import HS256, NOW, SECRET, bearer, claims, request, snapshot


@pytest.mark.parametrize("path", ["/read", "/either", "/users/8"])
@pytest.mark.parametrize("claimed", [{}, {"permissions": None}])
def test_a_token_that_lists_no_permissions_is_asked_about_where_they_are_needed(
    path: str, claimed: dict[str, Any]
) -> None:
    decision = decided(path, {}, **claimed)
    assert isinstance(decision, Needs)
    assert (decision.question, decision.token) == (FOR_7, b"")
    held = ("data:read", "users:all")
    assert reason(path, {FOR_7: permissions(*held)}, **claimed) is Reason.OK


@pytest.mark.parametrize("path", ["/any", "/open", "/admin"])
def test_a_route_that_needs_no_permissions_asks_for_none(path: str) -> None:
    assert not isinstance(decided(path, {}, roles=["admin"]), Needs)


@pytest.mark.parametrize("claimed", [[], ["other"], {}, "data:read", 7, False])
def test_a_list_in_the_token_is_an_answer_even_if_it_is_empty(claimed: object) -> None:
    """Whatever its type: only an absent claim and null mean that the token says nothing."""
    assert reason("/read", {}, permissions=claimed) is Reason.PERMISSION_DENIED


def test_nothing_is_asked_where_nothing_is_configured() -> None:
    assert reason("/read", {}, asking(None)) is Reason.PERMISSION_DENIED


def test_with_always_the_answer_replaces_permissions_and_roles() -> None:
    rules = asking(ALWAYS)
    claimed: dict[str, Any] = {"permissions": ["data:read"], "roles": ["admin"]}
    assert isinstance(decided("/read", {}, rules, **claimed), Needs)
    assert isinstance(decided("/admin", {}, rules, **claimed), Needs)
    answers = {FOR_7: permissions("data:write", roles=("user",))}
    assert reason("/read", answers, rules, **claimed) is Reason.PERMISSION_DENIED
    assert reason("/admin", answers, rules, **claimed) is Reason.ROLE_DENIED
    assert principal("/either", answers, rules, **claimed).roles == ("user",)
    without_roles = {FOR_7: permissions("data:read")}
    assert principal("/read", without_roles, rules, **claimed).roles == ("admin",)


def test_with_always_an_upstream_never_gets_permissions_that_zervi_did_not_confirm() -> None:
    """Also on a route for which nothing is asked."""
    decision = decided("/any", {}, asking(ALWAYS), permissions=["data:read"])
    assert isinstance(decision, Allow)
    assert decision.verified is not None
    assert "x-user-permissions" not in dict(decision.verified.identity)


def test_with_missing_the_roles_of_an_answer_are_not_used() -> None:
    answers = {FOR_7: permissions("data:read", roles=("admin",))}
    assert principal("/read", answers).roles == ()


def test_the_upstream_gets_the_permissions_that_were_looked_up() -> None:
    decision = decided("/read", {FOR_7: permissions("data:read", "a,b")})
    assert isinstance(decision, Allow)
    assert decision.verified is not None
    assert dict(decision.verified.identity)["x-user-permissions"] == "data:read,a%2Cb"


def test_roles_grant_beside_an_answer_as_they_do_beside_a_token() -> None:
    rules = asking(role_permissions={"reader": ("data:read",)})
    assert reason("/read", {FOR_7: permissions()}, rules, roles=["reader"]) is Reason.OK
    always = asking(ALWAYS, role_permissions={"reader": ("data:read",)})
    answers = {FOR_7: permissions(roles=("reader",))}
    assert reason("/read", answers, always) is Reason.OK


@pytest.mark.parametrize(
    ("grantable", "listed", "expected"),
    [
        (None, ("*",), Reason.PERMISSION_DENIED),
        (None, ("*", "data:read"), Reason.OK),
        ((), ("*", "data:read"), Reason.PERMISSION_DENIED),
        (("data:*",), ("*",), Reason.OK),
        (("other:*",), ("*", "data:read"), Reason.PERMISSION_DENIED),
        (("data:read",), ("data:read",), Reason.OK),
    ],
)
def test_an_answer_grants_at_most_what_its_issuer_can_grant(
    grantable: tuple[str, ...] | None, listed: tuple[str, ...], expected: Reason
) -> None:
    """``*`` becomes the issuer's patterns, and nothing where there are none."""
    rules = asking(grantable=grantable)
    assert reason("/read", {FOR_7: permissions(*listed)}, rules) is expected


def test_the_star_of_an_answer_makes_nobody_an_owner() -> None:
    rules = asking(grantable=("users:*",))
    assert reason("/users/8", {FOR_7: permissions("*")}, rules) is Reason.NOT_OWNER


@pytest.mark.parametrize("grantable", [None, ("user",)])
def test_roles_of_an_answer_are_limited_too(grantable: tuple[str, ...] | None) -> None:
    rules = asking(ALWAYS, grantable_roles=grantable)
    found = principal("/read", {FOR_7: permissions("data:read", roles=("admin", "user"))}, rules)
    assert found.roles == (("admin", "user") if grantable is None else ("user",))


@pytest.mark.parametrize("rule", [MISSING, ALWAYS])
def test_a_service_is_never_looked_up_as_the_user_with_its_id(rule: PermissionRule) -> None:
    answers = {FOR_7: permissions("data:read")}
    token = minting.sign({**claims(), "service_id": "7"}, SECRET)
    asked = request(b"/sync", headers={"authorization": (f"Bearer {token}".encode(),)})
    assert reason(asked, answers, asking(rule)) is Reason.PERMISSION_DENIED


def test_only_users_of_the_named_issuers_are_looked_up() -> None:
    """Another issuer's user 7 is another person."""
    rules = asking(PermissionRule(issuers=frozenset({"another"})))
    assert reason("/read", {FOR_7: permissions("data:read")}, rules) is Reason.PERMISSION_DENIED
    rules = asking(PermissionRule(issuers=frozenset({HS256.name})))
    assert reason("/read", {FOR_7: permissions("data:read")}, rules) is Reason.OK


@pytest.mark.parametrize("subject", [".", "..", "x" * (MAX_SUBJECT_CHARS + 1)])
def test_a_subject_that_is_no_segment_of_a_path_is_denied_and_not_asked_about(
    subject: str,
) -> None:
    assert reason("/read", {}, user_id=subject) is Reason.TOKEN_CLAIMS


@pytest.mark.parametrize("subject", ["a/b", "../x", "a?b", "a#b", "%2e%2e", "...", "张伟"])
def test_other_subjects_are_asked_about_as_they_are(subject: str) -> None:
    """The look-up encodes them as one segment."""
    decision = decided("/read", {}, user_id=subject)
    assert isinstance(decision, Needs)
    assert decision.question == NeedsPermissions(subject)


@pytest.mark.parametrize("ended", [Ended.FAILED, Ended.OVERLOADED, Ended.ANSWERED])
def test_an_older_answer_counts_once_no_newer_one_can_be_had(ended: Ended) -> None:
    answers: dict[LookUp, Answer] = {FOR_7: permissions("data:read", fresh=0.0)}
    assert isinstance(decided("/read", answers), Needs)
    assert reason("/read", answers, ended={FOR_7: ended}) is Reason.OK


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (Ended.FAILED, Reason.NOT_READY),
        (Ended.OVERLOADED, Reason.OVERLOADED),
    ],
)
@pytest.mark.parametrize("answers", [{}, {FOR_7: permissions("data:read", fresh=0.0, stale=0.0)}])
def test_without_a_usable_answer_nothing_opens(
    ended: Ended, expected: Reason, answers: dict[LookUp, Answer]
) -> None:
    assert reason("/read", answers, ended={FOR_7: ended}) is expected


def test_an_answer_that_came_for_this_request_counts_however_short_it_is_fresh() -> None:
    answers: dict[LookUp, Answer] = {FOR_7: permissions("data:read", fresh=0.0, stale=0.0)}
    assert reason("/read", answers, ended={FOR_7: Ended.ANSWERED}) is Reason.OK
    assert reason("/read", {}, ended={FOR_7: Ended.ANSWERED}) is Reason.NOT_READY


def test_an_answer_that_is_too_much_for_the_headers_opens_nothing() -> None:
    many = tuple(f"permission:{number:040}" for number in range(200))
    assert reason("/read", {FOR_7: permissions("data:read", *many)}) is Reason.NOT_READY


def test_a_remembered_principal_is_used_until_the_answer_changes() -> None:
    """The token is verified once, and its principal made once for each answer."""
    verified: dict[bytes, Verified] = {}
    first = decided("/read", {FOR_7: permissions("data:read")}, verified=verified)
    again = decided("/read", {FOR_7: permissions("data:read", fresh=90.0)}, verified=verified)
    assert isinstance(first, Allow)
    assert isinstance(again, Allow)
    assert again.verified is first.verified
    answers: dict[LookUp, Answer] = {FOR_7: permissions("data:write", mark=b"2")}
    assert reason("/read", answers, verified=verified) is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("later", "valid"),
    [
        (permissions("data:read", fresh=90.0), True),
        (permissions("data:read", mark=b"2"), False),
        (permissions("data:read", fresh=0.0), False),
        (None, False),
    ],
)
def test_a_repeated_request_is_allowed_while_its_answer_is_the_same_and_fresh(
    later: Answer | None, valid: bool
) -> None:
    rules = asking()
    allow = decided("/read", {FOR_7: permissions("data:read")}, rules)
    assert isinstance(allow, Allow)
    answers = {} if later is None else {FOR_7: later}
    assert still_valid(allow, rules, NOW, NOW, answers) is valid  # type: ignore[arg-type]  # -- a dict's keys are invariant


def test_each_reading_of_a_path_may_ask() -> None:
    """An upstream that ignores `;x` would serve the route that needs permissions."""
    policy = snapshot(ROUTES, allow_paths=frozenset({"semicolon"})).policy
    asked = request(b"/read;x", headers=bearer())
    decision = decide(asked, asking()._replace(policy=policy), {}, NOW)
    assert not isinstance(decision, Allow)

"""What a decision asks of Zervi, and how answers become part of it: plain values only."""

from hashlib import sha256
from typing import Any

import pytest

from demo import minting
from sidecar.core.decision import Allow, Decision, Deny, Needs, decide, still_valid
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import (
    MAX_SUBJECT_CHARS,
    Answer,
    Ended,
    Granted,
    Introspection,
    LookUp,
    NeedsPermissions,
    NeedsVerdict,
    PermissionRule,
    Question,
    TokenShape,
)
from sidecar.core.tokens.verify import Verified
from tests.support.policies import BEARER, HS256, NOW, SECRET, bearer, claims, request, snapshot

ROUTES = (
    Route(0, "open", "/open", public=True),
    Route(1, "any", "/any"),
    Route(2, "read", "/read", permissions=("data:read",)),
    Route(3, "either", "/either", any_permissions=("data:read", "data:write")),
    Route(4, "admin", "/admin", roles=("admin",)),
    Route(5, "own", "/users/{id}", owner=1, owner_unless=("users:all",)),
    Route(6, "sync", "/sync", permissions=("data:read",), principals=frozenset({"service"})),
)
FOR_7 = NeedsPermissions("7")
MISSING, ALWAYS = PermissionRule(), PermissionRule(always=True)
OPAQUE = b"zat_0123456789"
ANY_SHAPE = TokenShape()


def asking(rule: PermissionRule | None = MISSING, **others: Any) -> Snapshot:
    """Return a snapshot that looks permissions up; ``others`` are of its issuer."""
    return snapshot(ROUTES, (HS256._replace(**others),))._replace(permissions=rule)


def introspecting(
    *, always: bool = False, shape: TokenShape = ANY_SHAPE, **others: Any
) -> Snapshot:
    issuer = HS256._replace(introspection=Introspection(always, shape), **others)
    return snapshot(ROUTES, (issuer,))._replace(opaque_issuer=0)


def good(value: Any, mark: bytes = b"1", fresh: float = 60.0, stale: float = 600.0) -> Answer:
    """Return an answer of now."""
    return Answer(value, mark, NOW + fresh, NOW + stale)


def permissions(*names: str, roles: tuple[str, ...] | None = None, **others: Any) -> Answer:
    return good(Granted(names, roles), **others)


def opaque(path: str = "/any", token: bytes = OPAQUE) -> Request:
    return request(path.encode(), headers={"authorization": (b"Bearer " + token,)})


def decided(
    path: str | Request,
    answers: dict[LookUp, Answer],
    rules: Snapshot | None = None,
    ended: dict[Question, Ended] | None = None,
    verified: dict[bytes, Verified] | None = None,
    **claimed: Any,
) -> Decision | Needs:
    """Decide for user 7, whose token has these claims beside the usual ones."""
    asked = path
    if isinstance(asked, str):
        asked = request(asked.encode(), headers=bearer(**claimed))
    known = {} if verified is None else verified
    rules = asking() if rules is None else rules
    return decide(asked, rules, known, NOW, answers=answers, attempts=ended or {})


def reason(*args: Any, **others: Any) -> Reason:
    decision = decided(*args, **others)
    assert not isinstance(decision, Needs), decision
    return decision.reason


def principal(*args: Any, **others: Any) -> Any:
    decision = decided(*args, **others)
    assert isinstance(decision, Allow), decision
    assert decision.verified is not None
    return decision.verified.principal


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


# Tokens that their issuer is asked about.

QUESTION = NeedsVerdict(0, sha256(OPAQUE).digest())
ACTIVE = {"sub": "7", "exp": NOW + 60}


def test_an_opaque_token_is_asked_about_and_its_answer_read_as_a_tokens_claims() -> None:
    decision = decided(opaque(), {}, introspecting())
    assert isinstance(decision, Needs)
    assert (decision.question, decision.token) == (QUESTION, OPAQUE)
    answer = good({**ACTIVE, "permissions": ["data:read"], "username": "alice"})
    found = principal(opaque("/read"), {QUESTION: answer}, introspecting())
    assert (found.subject, found.username, found.permissions) == ("7", "alice", ("data:read",))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, Reason.TOKEN_REVOKED),
        ({**ACTIVE, "exp": NOW - 31}, Reason.TOKEN_EXPIRED),
        ({**ACTIVE, "exp": "soon"}, Reason.TOKEN_CLAIMS),
        ({**ACTIVE, "exp": True}, Reason.TOKEN_CLAIMS),
        ({**ACTIVE, "nbf": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({**ACTIVE, "iss": "another"}, Reason.TOKEN_ISSUER),
        ({**ACTIVE, "iss": 7}, Reason.TOKEN_ISSUER),
        ({**ACTIVE, "aud": "another"}, Reason.TOKEN_AUDIENCE),
        (ACTIVE, Reason.TOKEN_AUDIENCE),
        ({**ACTIVE, "aud": "us", "token_type": "refresh_token"}, Reason.TOKEN_KIND),
        ({**ACTIVE, "aud": "us", "cnf": {"jkt": "x"}}, Reason.TOKEN_KIND),
        ({"aud": "us"}, Reason.TOKEN_CLAIMS),
        ({**ACTIVE, "aud": ["them", "us"]}, Reason.OK),
        ({**ACTIVE, "aud": "us", "iss": HS256.name, "token_type": "Bearer"}, Reason.OK),
        ({"sub": "7", "aud": "us"}, Reason.OK),
        ({"sub": "7", "aud": "us", "exp": None}, Reason.OK),
    ],
)
def test_the_claims_of_an_answer_are_checked_as_those_of_a_jwt(
    answer: dict[str, Any] | None, expected: Reason
) -> None:
    rules = introspecting(audiences=frozenset({"us"}))
    assert reason(opaque(), {QUESTION: good(answer)}, rules) is expected


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize(
    "token",
    [
        minting.sign({**claims(), "iss": "another"}, SECRET).encode(),
        minting.sign(claims(), b"another secret, made up for only this test").encode(),
        b"eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0",
        b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0=.AA==",
        b"eyJhbGciOiJkaXIifQ.a.b.c.d",
        b"eyJhbGciOiJIUzI1NiJ9",
        b"IHsiYWxnIjoiSFMyNTYifQ.e30.AA",
    ],
    ids=["another issuer's", "forged", "unsigned", "padded", "encrypted", "cut", "spaced"],
)
def test_a_jwt_that_is_not_accepted_here_is_sent_to_nobody(token: bytes, always: bool) -> None:
    decision = decided(opaque(token=token), {}, introspecting(always=always))
    assert isinstance(decision, Deny)
    assert decision.reason.refuses_token


@pytest.mark.parametrize(
    ("shape", "token"),
    [
        (TokenShape(prefix=b"zat_"), b"zap_0123456789"),
        (TokenShape(min_length=15), OPAQUE),
        (TokenShape(max_length=13), OPAQUE),
        (TokenShape(characters=frozenset(b"zat_012345678")), OPAQUE),
        (TokenShape(), b"zat_\xc3\xa9"),
        (TokenShape(), b"x" * 9000),
    ],
)
def test_a_token_of_another_form_is_malformed_and_sent_to_nobody(
    shape: TokenShape, token: bytes
) -> None:
    rules = introspecting(shape=shape)
    assert reason(opaque(token=token), {}, rules) is Reason.TOKEN_MALFORMED


def test_a_jwt_of_an_issuer_that_introspects_opaque_tokens_only_is_not_asked_about() -> None:
    assert reason("/any", {}, introspecting()) is Reason.OK


def jwt_question(**claimed: Any) -> NeedsVerdict:
    token = minting.sign(claims(**claimed), SECRET).encode()
    return NeedsVerdict(0, sha256(token).digest())


def test_with_always_a_verified_jwt_is_asked_about_and_its_own_claims_count() -> None:
    rules, question = introspecting(always=True), jwt_question(permissions=["data:read"])
    assert isinstance(decided("/read", {}, rules, permissions=["data:read"]), Needs)
    answers = {question: good({"sub": "7", "permissions": ["data:write"]})}
    found = principal("/read", answers, rules, permissions=["data:read"])
    assert found.permissions == ("data:read",)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, Reason.TOKEN_REVOKED),
        ({"sub": "8"}, Reason.TOKEN_CLAIMS),
        ({}, Reason.TOKEN_CLAIMS),
        ({"sub": "7", "iss": "another"}, Reason.TOKEN_ISSUER),
        ({"sub": "7", "exp": NOW - 31}, Reason.TOKEN_EXPIRED),
    ],
)
def test_an_answer_can_only_end_a_jwt(answer: dict[str, Any] | None, expected: Reason) -> None:
    rules = introspecting(always=True)
    assert reason("/any", {jwt_question(): good(answer)}, rules) is expected


@pytest.mark.parametrize("token", ["opaque", "jwt"])
def test_without_an_answer_about_a_token_nothing_opens(token: str) -> None:
    rules = introspecting(always=True)
    asked: Any = opaque() if token == "opaque" else "/any"
    question = QUESTION if token == "opaque" else jwt_question()
    for ended, expected in (
        (Ended.FAILED, Reason.NOT_READY),
        (Ended.OVERLOADED, Reason.OVERLOADED),
    ):
        assert reason(asked, {}, rules, ended={question: ended}) is expected


def test_a_later_answer_ends_a_remembered_token_at_once() -> None:
    verified: dict[bytes, Verified] = {}
    rules = introspecting()
    assert reason(opaque(), {QUESTION: good(ACTIVE)}, rules, verified=verified) is Reason.OK
    later = {QUESTION: good(None, mark=b"2")}
    assert reason(opaque(), later, rules, verified=verified) is Reason.TOKEN_REVOKED


def test_the_permissions_of_an_opaque_tokens_user_are_looked_up_too() -> None:
    rules = introspecting()._replace(permissions=MISSING)
    answers: dict[LookUp, Answer] = {QUESTION: good(ACTIVE)}
    decision = decided(opaque("/read"), answers, rules)
    assert isinstance(decision, Needs)
    assert decision.question == FOR_7
    answers[FOR_7] = permissions("data:read", mark=b"2")
    allow = decided(opaque("/read"), answers, rules)
    assert isinstance(allow, Allow)
    assert allow.verified is not None
    assert allow.verified.asked == ((QUESTION, b"1"), (FOR_7, b"2"))


def test_tokens_in_any_source_are_asked_about() -> None:
    cookie = BEARER._replace(kind="cookie", name="session", scheme=None)
    rules = introspecting()._replace(token_sources=(cookie,))
    headers = {"cookie": (b"session=" + OPAQUE,)}
    decision = decide(request(b"/any", headers=headers), rules, {}, NOW)
    assert isinstance(decision, Needs)
    assert decision.token == OPAQUE

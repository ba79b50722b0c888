"""What a decision asks an issuer about a token, and what the answer changes: plain values only."""

from hashlib import sha256
from typing import Any

import pytest

from demo import minting
from sidecar.core.decision import Allow, Deny, Needs, decide
from sidecar.core.reasons import Reason
from sidecar.core.tokens.lookups import (
    Answer,
    Ended,
    LookUp,
    NeedsVerdict,
    TokenShape,
)
from sidecar.core.tokens.revocations import Entries, Revocations
from sidecar.core.tokens.verify import Verified
from tests.core.look_ups import (
    FOR_7,
    MISSING,
    OPAQUE,
    decided,
    good,
    introspecting,
    opaque,
    permissions,
    principal,
    reason,
)
from tests.support.policies import BEARER, HS256, NOW, SECRET, claims, request

QUESTION = NeedsVerdict(0, sha256(OPAQUE).digest())
ACTIVE = {"sub": "7", "exp": NOW + 60}
DAY = 86400.0


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


@pytest.mark.parametrize("ended", [Ended.FAILED, Ended.OVERLOADED])
@pytest.mark.parametrize("token", ["opaque", "jwt"])
def test_an_older_answer_about_a_token_counts_once_no_newer_one_can_be_had(
    token: str, ended: Ended
) -> None:
    """Until ``stale_until``, and never beyond the token's own end."""
    rules = introspecting(always=True)
    asked: Any = opaque() if token == "opaque" else "/any"
    question = QUESTION if token == "opaque" else jwt_question()
    answers: dict[LookUp, Answer] = {question: good(ACTIVE, fresh=0.0)}
    assert isinstance(decided(asked, answers, rules), Needs)
    assert reason(asked, answers, rules, ended={question: ended}) is Reason.OK
    answers = {question: good({**ACTIVE, "exp": NOW - 31}, fresh=0.0)}
    assert reason(asked, answers, rules, ended={question: ended}) is Reason.TOKEN_EXPIRED


def test_the_revocation_feed_ends_a_token_whose_issuer_does_not_answer() -> None:
    entries = Entries()
    entries.add({"user_id": "7", "not_before": NOW}, NOW)
    feed = Revocations(entries, frozenset({HS256.name}), DAY, float("inf"))
    rules = introspecting()._replace(revocations=feed)
    answers: dict[LookUp, Answer] = {QUESTION: good({**ACTIVE, "iat": NOW - 1}, fresh=0.0)}
    ended = {QUESTION: Ended.FAILED}
    assert reason(opaque(), answers, rules, ended=ended) is Reason.TOKEN_REVOKED
    later: dict[LookUp, Answer] = {QUESTION: good({**ACTIVE, "iat": NOW}, fresh=0.0)}
    assert reason(opaque(), later, rules, ended=ended) is Reason.OK


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"sub": "7", "iat": NOW - 9, "exp": NOW - 9 + DAY}, Reason.OK),
        ({"sub": "7", "iat": NOW - 9, "exp": NOW + DAY}, Reason.TOKEN_CLAIMS),
        ({"sub": "7", "exp": NOW + DAY + 1}, Reason.TOKEN_CLAIMS),
        ({"sub": "7", "iat": NOW}, Reason.TOKEN_CLAIMS),
    ],
)
def test_an_opaque_token_that_outlives_the_feeds_memory_is_refused(
    answer: dict[str, Any], expected: Reason
) -> None:
    """Of a JWT its own claims say how long it lives."""
    feed = Revocations(Entries(), frozenset({HS256.name}), DAY, float("inf"))
    rules = introspecting(always=True)._replace(revocations=feed)
    assert reason(opaque(), {QUESTION: good(answer)}, rules) is expected
    claimed = {"iat": NOW, "exp": NOW + 60}
    assert reason("/any", {jwt_question(**claimed): good(answer)}, rules, **claimed) is Reason.OK


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

"""Denials that were built before."""

import itertools

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.reasons import Reason
from sidecar.extauthz.cors import Cors
from sidecar.extauthz.denials import Denials
from sidecar.extauthz.envelope import Envelope
from sidecar.extauthz.respond import AnswerSettings, Responder
from tests.support.checks import check_request, envelope_of
from tests.support.policies import NOW, PROTECTED, PUBLIC, bearer, request, snapshot

CORS = Cors(frozenset({"https://a.test", "https://b.test"}), ("GET",), (), True, 5)
RESPONDER = Responder(AnswerSettings(cors=CORS))
IDS = ("0a0b0c0d-1111-2222-3333-444455556666", "ffffffff-1111-2222-3333-444455556666", "a", "b")
ROUTES = (None, PROTECTED, PUBLIC)
NEEDS = ((), ("a", "b"), ("\x7f",))
LANGUAGES = (b"en", b"zh")
TYPES = (b"text/plain", b"application/grpc")
ORIGINS = (b"https://a.test", b"https://b.test", b"https://c.test")


def envelope(
    language: bytes = b"en", content_type: bytes = b"text/plain", origin: bytes = ORIGINS[0]
) -> Envelope:
    """Return a request whose client reads that language."""
    headers = {
        "accept-language": [language],
        "content-type": [content_type],
        "origin": [origin],
    }
    return envelope_of(check_request(headers=headers))


def test_a_denial_is_the_same_whether_built_before_or_not() -> None:
    """Whatever it depends on: the second round finds everything built."""
    allowed = [
        decide(
            request(headers=bearer(user_id=user, permissions=["closed:read"])), snapshot(), {}, NOW
        )
        for user in (7, 8)
    ]
    verified = [None, *(each.verified for each in allowed if isinstance(each, Allow))]
    assert len(verified) == 3
    denials = Denials(RESPONDER.build, RESPONDER.listed_origin)
    reasons = (Reason.MALFORMED_REQUEST, Reason.TOKEN_MISSING, Reason.PREFLIGHT_ANSWERED)
    for _ in range(2):
        for reason, route, who, needs, any_of in itertools.product(
            reasons, ROUTES, verified, NEEDS, (False, True)
        ):
            denial = Deny(reason, route, who, needs, any_of)
            for asked, name in itertools.product(
                [envelope(*each) for each in itertools.product(LANGUAGES, TYPES, ORIGINS)], IDS
            ):
                built = RESPONDER.build(denial, asked, name)
                assert denials.answer(denial, asked, name) == built


def test_a_denial_without_a_request_is_built() -> None:
    """The message could not be read."""
    denial = Deny(Reason.MALFORMED_REQUEST, needs=("x",))
    built = RESPONDER.build(denial, None, "an-id")
    assert Denials(RESPONDER.build).answer(denial, None, "an-id") == built


def test_a_denial_that_was_built_is_not_built_again() -> None:
    """For another id of the same length."""
    calls: list[str] = []

    def build(decision: Deny, asked: Envelope | None, decision_id: str) -> bytes:
        calls.append(decision_id)
        return RESPONDER.build(decision, asked, decision_id)

    denials = Denials(build)
    for name in IDS[:2]:
        denials.answer(Deny(Reason.NO_ROUTE), envelope(), name)
    assert len(calls) == 1

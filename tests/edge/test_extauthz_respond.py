"""A denial to CheckResponse bytes; test_extauthz_allow.py has allows."""

import json

import pytest

from sidecar.core.decision import Allow, Deny
from sidecar.core.reasons import Reason
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.extauthz.cors import Cors
from sidecar.extauthz.messages import ANSWERS, TITLES
from sidecar.extauthz.respond import AnswerSettings, Challenge, Responder
from sidecar.net.languages import prefers_chinese
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.support.checks import PERMISSION_DENIED, check_request, envelope_of
from tests.support.policies import (
    BEARER,
    PROTECTED,
    PUBLIC,
)

SETTINGS = AnswerSettings(IdentityHeaders(), ("x-original-url",), True, (BEARER,))
RESPONDER = Responder(SETTINGS)
DENYING = sorted(
    reason for reason in Reason if not reason.allows and reason is not Reason.PREFLIGHT_ANSWERED
)


def read(message: bytes) -> CheckResponse:
    """Read an answer as Envoy does."""
    return CheckResponse.FromString(message)


def denied(decision: Deny, **headers: bytes) -> tuple[int, dict[str, str], dict[str, str]]:
    """Return status, headers and body of a denial."""
    sent = {name.replace("_", "-"): [value] for name, value in headers.items()}
    envelope = envelope_of(check_request(headers=sent))
    response = read(RESPONDER.build(decision, envelope, "an-id"))
    assert response.status.code == PERMISSION_DENIED
    told = response.denied_response
    fields = {option.header.key: option.header.value for option in told.headers}
    return told.status.code, fields, json.loads(told.body)


@pytest.mark.parametrize("reason", DENYING)
def test_every_denying_reason_has_a_whole_answer(reason: Reason) -> None:
    """Status, JSON body with all five keys, no caching, in both languages."""
    for language in (b"en", b"zh-CN"):
        status, headers, body = denied(Deny(reason, needs=("x",)), accept_language=language)
        assert status == ANSWERS[reason].status
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"] == "no-store"
        assert list(body) == ["error", "code", "message", "reason", "decision_id"]
        assert body["reason"] == reason
        assert body["decision_id"] == "an-id"
        assert body["error"] == TITLES[body["code"]][language != b"en"]
        refused = status == 401 or body["code"] == "INSUFFICIENT_PERMISSIONS"
        assert ("www-authenticate" in headers) == refused
        assert ("retry-after" in headers) == (status == 503)
        assert ("allow" in headers) == (status == 405)
        assert any("\u4e00" <= letter <= "\u9fff" for letter in body["message"]) == (
            language != b"en"
        )


CORS = Cors(
    frozenset({"https://app.test", "https://a.test:8443"}), ("GET", "PUT"), ("x-a",), False, 600
)
TOLD = {
    "vary": "Origin",
    "access-control-allow-origin": "https://app.test",
    "access-control-allow-methods": "GET, PUT",
    "access-control-allow-headers": "x-a",
    "access-control-max-age": "600",
}


def preflight_answered(cors: Cors | None, *origins: bytes) -> dict[str, str]:
    """Return the headers of the answer to a preflight, which is an empty 204 in any case."""
    responder = Responder(SETTINGS._replace(cors=cors))
    envelope = envelope_of(check_request(headers={"origin": origins}))
    message = responder.build(Deny(Reason.PREFLIGHT_ANSWERED, PROTECTED), envelope, "an-id")
    told = read(message).denied_response
    assert (told.status.code, told.body) == (204, "")
    return {option.header.key: option.header.value for option in told.headers}


def test_a_preflight_is_answered_with_nothing_where_no_origin_is_listed() -> None:
    """Then a browser refuses to send the request itself."""
    assert preflight_answered(None, b"https://app.test") == {}


def test_the_answer_to_a_listed_origin_lists_what_its_page_may_send() -> None:
    """As the Fetch standard requires."""
    assert preflight_answered(CORS, b"https://app.test") == TOLD
    with_cookies = CORS._replace(credentials=True, headers=())
    told = preflight_answered(with_cookies, b"https://app.test")
    assert told["access-control-allow-credentials"] == "true"
    assert "access-control-allow-headers" not in told


@pytest.mark.parametrize(
    "origins",
    [
        (b"https://other.test",),
        (b"https://APP.test",),
        (b"https://app.test:443",),
        (b"https://app.test.evil",),
        (b"https://app.test/",),
        (b"null",),
        (b"\xff",),
        (b"https://app.test", b"https://app.test"),
        (),
    ],
)
def test_the_answer_to_any_other_origin_has_only_vary(
    origins: tuple[bytes, ...],
) -> None:
    """A cache must not give it the answer of a listed one, or the other way round."""
    assert preflight_answered(CORS, *origins) == {"vary": "Origin"}


def test_a_page_of_a_listed_origin_can_read_a_denial() -> None:
    """Else its script sees a network error instead of what is missing."""
    responder = Responder(SETTINGS._replace(cors=CORS))
    for origin, wanted in ((b"https://app.test", "https://app.test"), (b"https://b.test", None)):
        envelope = envelope_of(check_request(headers={"origin": [origin]}))
        told = read(responder.build(Deny(Reason.TOKEN_MISSING), envelope, "id")).denied_response
        headers = {option.header.key: option.header.value for option in told.headers}
        assert headers["vary"] == "Origin"
        assert headers.get("access-control-allow-origin") == wanted
        assert "access-control-allow-methods" not in headers
        assert told.status.code == 401


def test_a_missing_permission_is_named() -> None:
    """In the client's language."""
    denial = Deny(Reason.PERMISSION_DENIED, PROTECTED, needs=("cluster:manage",))
    assert denied(denial)[2]["message"] == "needs permission cluster:manage"
    assert denied(denial, accept_language=b"zh")[2]["message"] == "需要权限 cluster:manage"


def test_what_is_missing_is_joined_as_it_is_needed() -> None:
    """All of the permissions, or any one of them."""
    every = Deny(Reason.PERMISSION_DENIED, PROTECTED, needs=("a", "b"))
    assert denied(every)[2]["message"] == "needs permission a, b"
    assert denied(every._replace(any_of=True))[2]["message"] == "needs permission a or b"


@pytest.mark.parametrize(
    ("reason", "challenge"),
    [
        (Reason.TOKEN_MISSING, 'Bearer realm="zervi"'),
        (Reason.TOKEN_EXPIRED, 'Bearer realm="zervi", error="invalid_token"'),
        (Reason.TOKEN_MALFORMED, 'Bearer realm="zervi", error="invalid_token"'),
        (Reason.MULTIPLE_CREDENTIALS, 'Bearer realm="zervi", error="invalid_request"'),
        (Reason.PERMISSION_DENIED, 'Bearer realm="zervi", error="insufficient_scope"'),
        (Reason.WRONG_ISSUER, 'Bearer realm="zervi", error="insufficient_scope"'),
    ],
)
def test_the_challenge_names_an_error_only_where_a_token_came(
    reason: Reason, challenge: str
) -> None:
    """RFC 6750 section 3.1."""
    assert denied(Deny(reason))[1]["www-authenticate"] == challenge


@pytest.mark.parametrize("reason", DENYING)
def test_realm_and_metadata_are_those_of_the_configuration(reason: Reason) -> None:
    """RFC 9728 section 5.1; a request without a route has no need of a token."""
    metadata = "https://api.example/.well-known/oauth-protected-resource"
    responder = Responder(AnswerSettings(challenge=Challenge("the api", metadata)))
    envelope = envelope_of(check_request())
    told = read(responder.build(Deny(reason, needs=("x",)), envelope)).denied_response
    headers = {option.header.key: option.header.value for option in told.headers}
    challenge = headers.get("www-authenticate")
    assert (challenge is None) == (told.status.code not in {401, 403} or reason is Reason.NO_ROUTE)
    if challenge is not None:
        assert challenge.startswith('Bearer realm="the api"')
        assert challenge.endswith(f', resource_metadata="{metadata}"')


def test_the_methods_that_are_allowed_are_listed() -> None:
    """RFC 9110 section 15.5.6."""
    denial = Deny(Reason.METHOD_NOT_ALLOWED, needs=("GET", "HEAD"))
    assert denied(denial)[1]["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("reason", "grpc_status"),
    [
        (Reason.MALFORMED_REQUEST, "3"),
        (Reason.METHOD_NOT_ALLOWED, "12"),
        (Reason.TOKEN_MISSING, None),
        (Reason.NO_ROUTE, None),
    ],
)
def test_a_grpc_client_gets_the_status_that_envoy_would_translate_wrongly(
    reason: Reason, grpc_status: str | None
) -> None:
    """Only for gRPC requests; 401, 403 and 503 Envoy translates rightly."""
    denial = Deny(reason, needs=("x",))
    assert denied(denial, content_type=b"application/grpc")[1].get("grpc-status") == grpc_status
    assert "grpc-status" not in denied(denial)[1]


@pytest.mark.parametrize(
    ("content_type", "end"), [(b"application/json", "}\n"), (b"application/grpc", '"}')]
)
def test_a_body_ends_its_line_but_not_where_it_becomes_a_grpc_message(
    content_type: bytes, end: str
) -> None:
    """A terminal's prompt belongs on the next line."""
    envelope = envelope_of(check_request(headers={"content-type": [content_type]}))
    response = read(RESPONDER.build(Deny(Reason.NO_ROUTE), envelope, "an-id"))
    assert response.denied_response.body.endswith(end)


@pytest.mark.parametrize("reason", [*DENYING, Reason.PREFLIGHT_ANSWERED])
def test_an_allow_for_a_denying_reason_is_a_denial(reason: Reason) -> None:
    """The answer starts from deny, and only three reasons leave it."""
    response = read(RESPONDER.build(Allow(reason, PUBLIC)))
    assert response.status.code == PERMISSION_DENIED
    assert response.denied_response.status.code == 503


@pytest.mark.parametrize(
    ("accept_language", "chinese"),
    [
        ("", False),
        ("zh", True),
        ("zh-CN,zh;q=0.9,en;q=0.8", True),
        ("en-US,en;q=0.9,zh;q=0.8", False),
        ("en;q=0.1, zh;q=0.9", True),
        ("fr, zh;q=0.5", True),
        ("fr", False),
        ("*", False),
        ("zh;q=0", False),
        ("zh;q=x", False),
        ("zh;q", False),
        ("zh;q=nan", False),
        (";;;,,,=", False),
    ],
)
def test_the_language_is_the_one_preferred(accept_language: str, chinese: bool) -> None:
    """RFC 9110 section 12.5.4; unknown values mean English."""
    assert prefers_chinese(accept_language) is chinese

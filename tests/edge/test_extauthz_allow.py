"""An allow to CheckResponse bytes: what the upstream gets, and what it never does."""

import re
from collections.abc import Sequence
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Allow, decide
from sidecar.core.query import MAX_PARAMETERS
from sidecar.core.reasons import Reason
from sidecar.core.tokens.credentials import MAX_COOKIES, TokenSource
from sidecar.core.tokens.issuers import ClaimNames
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.core.tokens.verify import Verified
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.pb.ext_authz_pb2 import CheckResponse, HeaderValueOption, OkHttpResponse
from tests.support.checks import OK, ask, check_request, service
from tests.support.policies import (
    BEARER,
    HS256,
    NOW,
    PROTECTED,
    PUBLIC,
    bearer,
    live_bearer,
    request,
    snapshot,
)

SETTINGS = AnswerSettings(IdentityHeaders(), ("x-original-url",), True, (BEARER,))
RESPONDER = Responder(SETTINGS)


def read(message: bytes) -> CheckResponse:
    """Read an answer as Envoy does."""
    return CheckResponse.FromString(message)


def verified() -> Verified:
    """Return a verified token of user 7."""
    decision = decide(
        request(headers=bearer(permissions=["closed:read"], username="李雷")), snapshot(), {}, NOW
    )
    assert isinstance(decision, Allow)
    assert decision.verified is not None
    return decision.verified


def test_an_allow_sets_what_has_a_value_and_removes_the_rest() -> None:
    """No name is in both lists: Envoy would remove what it had just set."""
    response = read(RESPONDER.build(Allow(Reason.OK, PROTECTED, verified())))
    set_headers = {o.header.key: o.header.value for o in response.ok_response.headers}
    assert set_headers == {
        "x-user-id": "7",
        "x-username": "%E6%9D%8E%E9%9B%B7",
        "x-user-permissions": "closed:read",
        "x-user-issuer": "jobfirst-auth",
    }
    assert list(response.ok_response.headers_to_remove) == [
        "x-service-id",
        "x-user-email",
        "x-user-role",
    ]
    actions = {option.append_action for option in response.ok_response.headers}
    assert actions == {HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD}


@pytest.mark.parametrize("sent", [(), ("x-host",), ("x-original-url", "x-host", "accept")])
def test_an_allow_removes_those_of_remove_headers_that_the_request_has(sent: tuple[str]) -> None:
    """With raw headers the Check shows each of them; Envoy takes time for every name to remove."""
    responder = Responder(SETTINGS._replace(remove_headers=("x-host", "x-original-url")))
    headers = {name: [b"v"] for name in sent}
    told = read(responder.addendum(request(headers=headers), "id")).ok_response
    assert list(told.headers_to_remove) == [name for name in sent if name != "accept"]


def test_without_raw_headers_an_allow_removes_all_of_remove_headers() -> None:
    """Such a Check may lack some of the request's headers (``allowed_headers`` in Envoy)."""
    responder = Responder(SETTINGS._replace(remove_headers=("x-host", "x-original-url")))
    for headers in ({}, {"x-host": [b"v"]}):
        cleaned = request(headers=headers)._replace(raw_headers=False)
        told = read(responder.addendum(cleaned, "id")).ok_response
        assert {*told.headers_to_remove} == {"x-host", "x-original-url"}


def test_a_removed_header_that_is_an_identity_header_too_is_set() -> None:
    """And removed where there is no identity: a client's own copy never passes."""
    names = IdentityHeaders(subject="x-webauth-user")
    responder = Responder(AnswerSettings(names, ("x-webauth-user", "proxy")))
    seen = snapshot()._replace(identity_headers=names)
    decision = decide(request(headers=bearer(permissions=["closed:read"])), seen, {}, NOW)
    assert isinstance(decision, Allow)
    told = read(responder.build(decision)).ok_response
    assert ("x-webauth-user", "7") in [(o.header.key, o.header.value) for o in told.headers]
    assert "x-webauth-user" not in told.headers_to_remove
    told = read(responder.build(Allow(Reason.PUBLIC, PUBLIC))).ok_response
    assert "x-webauth-user" in told.headers_to_remove


@pytest.mark.parametrize("off", IdentityHeaders._fields)
def test_an_identity_header_that_is_off_is_removed_and_never_set(off: str) -> None:
    """Each of the seven by itself, in every spelling."""
    default = getattr(IdentityHeaders(), off)
    names = IdentityHeaders()._replace(**{off: None})
    responder = Responder(AnswerSettings(names))
    seen = snapshot()._replace(identity_headers=names)
    token = bearer(permissions=["closed:read"], roles=["r"], username="u", email="e")
    decision = decide(request(headers=token), seen, {}, NOW)
    assert isinstance(decision, Allow)
    other = default.replace("-", "_")
    added = responder.addendum(request(headers={other: [b"4"]}), "id")
    told = read(responder.build(decision) + added)
    assert told.status.code == OK
    sent = {option.header.key for option in told.ok_response.headers}
    assert sent == {*IdentityHeaders()} - {default, "x-service-id"}
    assert {default, other} <= {*told.ok_response.headers_to_remove}


def test_a_header_from_claims_is_set_or_else_removed() -> None:
    """Also where another issuer's tokens have it, on public routes, and in every spelling."""
    (issuer,) = snapshot().issuers
    issuer = issuer._replace(claims=ClaimNames(headers={"x-tenant-id": ("tid",)}))
    seen = snapshot()._replace(issuers=(issuer,))
    responder = Responder(AnswerSettings(claim_headers=("x-tenant-id", "x-org")))
    for tid in ("t 1", None):
        token = bearer(permissions=["closed:read"], tid=tid)
        decision = decide(request(headers=token), seen, {}, NOW)
        assert isinstance(decision, Allow)
        told = read(responder.build(decision)).ok_response
        sent = {option.header.key: option.header.value for option in told.headers}
        assert sent.get("x-tenant-id") == (tid and "t%201")
        assert ("x-tenant-id" in told.headers_to_remove) is (tid is None)
        assert "x-org" in told.headers_to_remove
    odd = {"x_tenant_id": [b"4"], "X.Org".lower(): [b"4"]}
    added = responder.addendum(request(headers=odd), "id")
    told = read(responder.build(Allow(Reason.PUBLIC, PUBLIC)) + added).ok_response
    assert {"x-tenant-id", "x-org", "x_tenant_id", "x.org"} <= {*told.headers_to_remove}


def test_many_sets_of_headers_leave_little_behind() -> None:
    """Which headers a token has is up to its claims."""
    names = [f"x-{number}" for number in range(9)]
    responder = Responder(AnswerSettings(claim_headers=tuple(names)))
    known = verified()
    for number in range(2**9):
        more = tuple((name, "v") for bit, name in enumerate(names) if number >> bit & 1)
        allow = Allow(Reason.OK, PROTECTED, known._replace(identity=(*known.identity, *more)))
        told = read(responder.build(allow)).ok_response
        assert {*told.headers_to_remove} >= {*names} - {name for name, _ in more}
        assert not {*told.headers_to_remove} & {name for name, _ in more}
    assert len(responder._removed_beside) <= 256


def test_a_public_route_removes_every_identity_header() -> None:
    """A client's own copy never passes."""
    response = read(RESPONDER.build(Allow(Reason.PUBLIC, PUBLIC)))
    assert not response.ok_response.headers
    assert {*IdentityHeaders()} <= {*response.ok_response.headers_to_remove}


def test_other_spellings_of_a_removed_header_are_removed() -> None:
    """``x_user_id`` and ``x-user-id`` are two names to Envoy, and one to many upstreams."""
    names = ["x_user_id", "x-user_id", "x.user.id", "x-user-id", "x_other", "x_original_url"]
    added = RESPONDER.addendum(request(headers={name: [b"4"] for name in names}), "id")
    response = read(RESPONDER.build(Allow(Reason.PUBLIC, PUBLIC)) + added)
    removed = list(response.ok_response.headers_to_remove)
    assert removed[-4:] == ["x_user_id", "x-user_id", "x.user.id", "x_original_url"]
    assert "x_other" not in removed


def test_the_addendum_says_the_decision_id_and_leaves_the_rest() -> None:
    """Protobuf merges messages that follow each other."""
    constant = RESPONDER.build(Allow(Reason.OK, PROTECTED, verified()))
    whole = read(constant + RESPONDER.addendum(request(), "0a0b0c0d-1111-2222-3333-444455556666"))
    metadata = {name: field.string_value for name, field in whole.dynamic_metadata.fields.items()}
    assert metadata == {
        "reason": "ok",
        "route": "protected",
        "target": "inner",
        "subject": "7",
        "decision_id": "0a0b0c0d-1111-2222-3333-444455556666",
    }
    assert whole.ok_response == read(constant).ok_response
    assert whole.status.code == 0


def test_long_odd_names_are_removed_too() -> None:
    """Lengths over 127 take more than one byte on the wire."""
    settings = SETTINGS._replace(remove_headers=("x-" + "a" * 300,))
    responder = Responder(settings)
    odd = "x_" + "a" * 300
    response = read(responder.addendum(request(headers={odd: [b"4"]}), "id"))
    assert list(response.ok_response.headers_to_remove) == [odd]


WITHHOLDING = SETTINGS._replace(
    forward_authorization=False,
    token_sources=(BEARER, TokenSource("query", "token"), TokenSource("cookie", "session")),
)


def allowed(
    target: bytes = b"/open/1", settings: AnswerSettings = WITHHOLDING, **headers: Sequence[bytes]
) -> OkHttpResponse:
    """Return what Envoy does with an allowed request, apart from what a plain one would get."""
    responder = Responder(settings)
    answer = responder.build(Allow(Reason.PUBLIC, PUBLIC))
    sent = {name.replace("_", "-"): values for name, values in headers.items()}
    answer += responder.addendum(request(target, headers=sent), "an-id")
    told = read(answer)
    assert told.status.code == 0
    assert told.dynamic_metadata.fields["decision_id"].string_value == "an-id"
    return told.ok_response


def test_a_header_that_may_hold_the_token_stays_here() -> None:
    """Only where tokens are not to be forwarded."""
    assert "authorization" in allowed().headers_to_remove
    assert "authorization" not in allowed(settings=SETTINGS).headers_to_remove


@pytest.mark.parametrize(
    ("target", "removed"),
    [
        (b"/open/1", []),
        (b"/open/1?a=token", []),
        (b"/open/1?tokens=a", []),
        (b"/open/1?token=a", ["token"]),
        (b"/open/1?b=1&token=a&token=b", ["token"]),
        (b"/open/1?token=a&token[\xff]=b", ["token"]),
        (b"/open/1?token=a&" + b"b&" * MAX_PARAMETERS, ["token"]),
        (b"/open/1?%74oken=a&TOKEN=b&+token=c", ["%74oken", "+token", "TOKEN"]),
    ],
)
def test_a_query_parameter_that_may_hold_the_token_is_removed_where_it_is(
    target: bytes, removed: list[str]
) -> None:
    """Under the spelling that it has. Envoy rewrites the query of each request that is asked of."""
    assert sorted(allowed(target).query_parameters_to_remove) == sorted(removed)
    assert not allowed(target, SETTINGS).query_parameters_to_remove


@pytest.mark.parametrize(
    ("cookie", "arrives"),
    [
        (b"session=t", None),
        (b" session=t ;", None),
        (b"session=t; session=u", None),
        (b"session=t,session=u", None),
        (b"session =t", None),
        (b"%73ession=t", None),
        (b"a=1; session=t; b=2", "a=1; b=2"),
        (b"session=t; b=2", "b=2"),
        (b"a=1; session=t", "a=1"),
        (b"a=1;session=t;b=2", "a=1;b=2"),
        (b"a=1,session=t,b=2", "a=1,b=2"),
        (b"a=1,2; session=t; b=3,4", "a=1,2; b=3,4"),
        (b"session=t; a=1; session=t; b=2; session=t", "a=1; b=2"),
        (b'a="1; session=t; b=2"', 'a="1; b=2"'),
        (b"session=t; a", "a"),
        (b"session=t; a=\xe2\x82\xac", "a=\u20ac"),
        (b"session=t; a=\xff; b=2", "b=2"),
        (b"session=t; a=1\r\nx-user-id: 4; b=2", "b=2"),
        (b"session=t; a=\x00", None),
        (b"session=t;" + b"a=1;" * MAX_COOKIES, None),
    ],
)
def test_only_the_token_is_removed_from_a_cookie_header(cookie: bytes, arrives: str | None) -> None:
    """The rest is unchanged, separators too, except values that are invalid in a header."""
    told = allowed(cookie=[cookie])
    assert ("cookie" in told.headers_to_remove) is (arrives is None)
    options = [(option.header.key, option.header.value) for option in told.headers]
    assert options == ([] if arrives is None else [("cookie", arrives)])
    actions = {option.append_action for option in told.headers}
    assert actions <= {HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD}


@pytest.mark.parametrize(
    "cookie", [(), (b"a=1",), (b"a=session",), (b"xsession=t; Session=t",), (b"a=\xff",), (b"",)]
)
def test_a_cookie_header_without_the_token_is_not_touched(cookie: tuple[bytes, ...]) -> None:
    """Envoy need not be allowed to change it then."""
    told = allowed(cookie=cookie) if cookie else allowed()
    assert not told.headers
    assert "cookie" not in told.headers_to_remove


PROTOCOLS = SETTINGS._replace(token_sources=(TokenSource("websocket_protocol", "bearer"),))


@pytest.mark.parametrize(
    ("protocols", "arrive"),
    [
        ([b"bearer, t"], "bearer"),
        ([b"bearer,t,chat"], "bearer, chat"),
        ([b"chat, bearer", b"t"], "chat, bearer"),
        ([b"bearer, bearer, t"], "bearer"),
        ([b"chat\r\nx-user-id: 4, bearer, t, \xff"], "bearer"),
        ([b"bearer"], None),
        ([b"chat, Bearer, t"], None),
        ([b"\xff"], None),
        ([b""], None),
    ],
)
def test_the_token_among_websocket_protocols_is_always_removed(
    protocols: list[bytes], arrive: str | None
) -> None:
    """Also where tokens are forwarded; ``bearer`` stays for the upstream to choose."""
    for settings in (PROTOCOLS, PROTOCOLS._replace(forward_authorization=False)):
        told = allowed(settings=settings, sec_websocket_protocol=protocols)
        options = [(option.header.key, option.header.value) for option in told.headers]
        assert options == ([] if arrive is None else [("sec-websocket-protocol", arrive)])
    told = allowed(settings=SETTINGS, sec_websocket_protocol=protocols)
    assert not told.headers


def test_cookies_that_are_forwarded_are_not_touched() -> None:
    """Whatever they hold."""
    told = allowed(settings=WITHHOLDING._replace(forward_authorization=True), cookie=[b"session=t"])
    assert not told.headers
    assert "cookie" not in told.headers_to_remove


@given(st.lists(st.sampled_from(["session", "a", "=", ";", ",", " ", '"', "%73", "\xe9"])))
def test_what_is_left_of_cookies_is_what_there_was(pieces: list[str]) -> None:
    """Every cookie that arrives was sent as it arrives, in this order, and none is the token's."""
    cookie = "".join(pieces).encode()
    told = allowed(cookie=[cookie])
    if not told.headers and "cookie" not in told.headers_to_remove:
        left = cookie.decode()
    else:
        left = told.headers[0].header.value if told.headers else ""
    sent = [pair.strip(" ") for pair in re.split("[;,]", cookie.decode())]
    for pair in filter(None, (pair.strip(" ") for pair in re.split("[;,]", left))):
        assert unquote(pair.partition("=")[0]).strip(" ") != "session" or "=" not in pair
        assert pair in sent
        sent = sent[sent.index(pair) + 1 :]


def test_the_upstream_gets_only_what_the_issuer_can_grant() -> None:
    """The filtered sets, through the whole service."""
    limited = HS256._replace(grantable=("closed:*",), grantable_roles=("user",))
    checks = service(snapshot(issuers=(limited,)))
    headers = live_bearer(permissions=["*", "users:read"], roles=["admin", "user"])
    response = ask(checks, check_request(headers=headers))
    told = {each.header.key: each.header.value for each in response.ok_response.headers}
    assert told["x-user-permissions"] == "closed:*"
    assert told["x-user-role"] == "user"

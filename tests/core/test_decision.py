"""The decision on one request, from plain values."""

import pytest

from demo import minting
from sidecar.core.decision import Allow, Deny, Needs, decide
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.table import Route
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.core.tokens.verify import NeedsKey, Verified
from tests.support.policies import (
    BEARER,
    NOW,
    OWNED,
    PROTECTED,
    PUBLIC,
    bearer,
    claims,
    request,
    snapshot,
)

PREFLIGHT = {"origin": (b"https://a.test",), "access-control-request-method": (b"PUT",)}


def reason_of(asked: Request, **settings: object) -> Reason:
    """Decide with the table of the tests; a Needs fails."""
    decision = decide(asked, snapshot(**settings), {}, NOW)  # type: ignore[arg-type]  # -- settings are the policy's
    assert not isinstance(decision, Needs)
    return decision.reason


def test_a_public_route_needs_no_token_and_names_no_principal() -> None:
    """A token is not read."""
    asked = request(b"/open/1", headers={"authorization": (b"Bearer rubbish",)})
    assert decide(asked, snapshot(), {}, NOW) == Allow(Reason.PUBLIC, PUBLIC)


def test_a_permitted_principal_is_allowed_and_remembered() -> None:
    """The token is added to what was verified before, under the principal that it proves."""
    verified: dict[bytes, Verified] = {}
    asked = request(headers=bearer(permissions=["closed:read"]))
    decision = decide(asked, snapshot(), verified, NOW)
    assert isinstance(decision, Allow)
    assert (decision.reason, decision.route) == (Reason.OK, PROTECTED)
    assert list(verified.values()) == [decision.verified]


def test_a_remembered_token_is_not_verified_again() -> None:
    """The entry in hand is the one that is used."""
    verified: dict[bytes, Verified] = {}
    asked = request(headers=bearer(permissions=["closed:read"]))
    first = decide(asked, snapshot(), verified, NOW)
    second = decide(asked, snapshot(), verified, NOW + 1)
    assert isinstance(first, Allow)
    assert isinstance(second, Allow)
    assert second.verified is first.verified


def test_a_remembered_token_that_expired_is_refused() -> None:
    """``exp`` is checked on every hit."""
    verified: dict[bytes, Verified] = {}
    asked = request(headers=bearer(permissions=["closed:read"]))
    decide(asked, snapshot(), verified, NOW)
    decision = decide(asked, snapshot(), verified, NOW + 631)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(b""), Reason.MALFORMED_REQUEST),
        (request(b"*"), Reason.MALFORMED_REQUEST),
        (request(b"?only=query"), Reason.MALFORMED_REQUEST),
        (request(b"http://api.jobfirst.local/open/1"), Reason.MALFORMED_REQUEST),
        (request(b"/open/1", method=""), Reason.MALFORMED_REQUEST),
        (request(b"/open/1", method="GE T"), Reason.MALFORMED_REQUEST),
        (request(b"/nowhere"), Reason.NO_ROUTE),
        (request(), Reason.TOKEN_MISSING),
        (request(headers=bearer()), Reason.PERMISSION_DENIED),
        (request(b"/users/7/orders", headers=bearer()), Reason.OK),
        (request(b"/users/8/orders", headers=bearer()), Reason.NOT_OWNER),
        (request(headers=bearer(iss="another")), Reason.TOKEN_ISSUER),
    ],
)
def test_each_request_gets_its_reason(asked: Request, reason: Reason) -> None:
    """One row a way through the decision."""
    assert reason_of(asked) is reason


def test_a_denial_of_a_verified_principal_names_it() -> None:
    """So that metadata and the log say whose request was denied."""
    decision = decide(request(b"/users/8/orders", headers=bearer()), snapshot(), {}, NOW)
    assert isinstance(decision, Deny)
    assert decision.route == OWNED
    assert decision.verified is not None
    assert decision.verified.principal.subject == "7"


def test_a_method_the_route_lacks_is_answered_with_those_it_has() -> None:
    """GET includes HEAD."""
    routes = (Route(0, "read", "/r", methods=frozenset({"GET"})),)
    decision = decide(request(b"/r", method="POST"), snapshot(routes), {}, NOW)
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.needs) == (Reason.METHOD_NOT_ALLOWED, ("GET", "HEAD"))


WRITABLE = (Route(0, "write", "/w", methods=frozenset({"PUT"})),)


WRITABLE = (Route(0, "write", "/w", methods=frozenset({"PUT"})),)
ODD_PREFLIGHTS: tuple[dict[str, tuple[bytes, ...]], ...] = (
    {"origin": ()},
    {"origin": (b"",)},
    {"origin": (b"https://a.test", b"https://b.test")},
    {"origin": (b"https://a.test,https://b.test",)},
    {"access-control-request-method": (b"PUT", b"PUT")},
    {"access-control-request-method": (b"PUT,GET",)},
    {"access-control-request-method": (b"",)},
    {"content-type": (b"application/grpc+proto",)},
)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(b"/w", "OPTIONS", PREFLIGHT), Reason.PREFLIGHT_ANSWERED),
        (request(b"/w", "OPTIONS", {**PREFLIGHT, **bearer()}), Reason.PREFLIGHT_ANSWERED),
        (request(b"/x", "OPTIONS", PREFLIGHT), Reason.NO_ROUTE),
        (request(b"/w", "PUT", PREFLIGHT), Reason.TOKEN_MISSING),
        (
            request(b"/w", "OPTIONS", {**PREFLIGHT, "access-control-request-method": (b"GET",)}),
            Reason.METHOD_NOT_ALLOWED,
        ),
        *(
            (request(b"/w", "OPTIONS", {**PREFLIGHT, **odd}), Reason.METHOD_NOT_ALLOWED)
            for odd in ODD_PREFLIGHTS
        ),
    ],
)
def test_a_preflight_is_answered_and_never_allowed(asked: Request, reason: Reason) -> None:
    """OPTIONS, one Origin, one Access-Control-Request-Method, a route with that method."""
    decision = decide(asked, snapshot(WRITABLE), {}, NOW)
    assert isinstance(decision, Deny)
    assert decision.reason is reason


@pytest.mark.parametrize("mode", ["answer", "forward", "off"])
def test_an_options_request_for_a_public_route_is_public(mode: str) -> None:
    """As any other method, whether it is a preflight or not."""
    for headers in ({}, PREFLIGHT, {**PREFLIGHT, "content-length": (b"9",)}):
        asked = request(b"/open/1", "OPTIONS", headers)
        assert reason_of(asked, cors_preflight=mode) is Reason.PUBLIC


@pytest.mark.parametrize("mode", ["answer", "forward", "off"])
def test_a_public_route_without_options_denies_options(mode: str) -> None:
    """Its own method is public, OPTIONS is not."""
    routes = (Route(0, "login", "/login", methods=frozenset({"POST"}), public=True),)
    dirty = {**PREFLIGHT, "access-control-request-method": (b"POST",), "content-length": (b"9",)}
    decision = decide(
        request(b"/login", "OPTIONS", dirty), snapshot(routes, cors_preflight=mode), {}, NOW
    )
    assert isinstance(decision, Deny)


def test_with_off_a_preflight_is_an_ordinary_request() -> None:
    """It needs a route that takes OPTIONS, and what that route requires."""
    assert (
        reason_of(request(b"/w", "OPTIONS", PREFLIGHT), routes=WRITABLE, cors_preflight="off")
        is Reason.METHOD_NOT_ALLOWED
    )
    asked = request(headers=PREFLIGHT, method="OPTIONS")
    assert reason_of(asked, cors_preflight="off") is Reason.TOKEN_MISSING


SOURCES = (BEARER, TokenSource("header", "x-token"), TokenSource("query", "token"))


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/w", {}),
        (b"/w?a=b", {}),
        (b"/w", {"content-length": (b"0",)}),
        (b"/w", {"access-control-request-headers": (b"authorization",)}),
    ],
)
def test_forward_lets_a_clean_preflight_pass(
    target: bytes, headers: dict[str, tuple[bytes, ...]]
) -> None:
    """As a browser sends it."""
    seen = snapshot(WRITABLE, sources=SOURCES, cors_preflight="forward")
    decision = decide(request(target, "OPTIONS", {**PREFLIGHT, **headers}), seen, {}, NOW)
    assert decision == Allow(Reason.PREFLIGHT, WRITABLE[0])


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/w", bearer()),
        (b"/w", {"authorization": (b"",)}),
        (b"/w", {"cookie": (b"a=b",)}),
        (b"/w", {"x-token": (b"a",)}),
        (b"/w?token=a", {}),
        (b"/w?%74oken=a", {}),
        (b"/w?a=1;token=a", {}),
        (b"/w", {"content-length": (b"1",)}),
        (b"/w", {"content-length": (b"00", b"0")}),
        (b"/w", {"content-length": (b"-1",)}),
        (b"/w", {"content-length": (b"",)}),
        (b"/w", {"transfer-encoding": (b"chunked",)}),
        (b"/w", {"upgrade": (b"websocket",)}),
    ],
)
def test_forward_judges_a_preflight_that_no_browser_sends_as_an_ordinary_request(
    target: bytes, headers: dict[str, tuple[bytes, ...]]
) -> None:
    """So it needs a route that takes OPTIONS, and a token."""
    asked = request(target, "OPTIONS", {**PREFLIGHT, **headers})
    seen = snapshot(WRITABLE, sources=SOURCES, cors_preflight="forward")
    decision = decide(asked, seen, {}, NOW)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("mode", ["answer", "forward"])
def test_a_preflight_gets_the_strictest_decision_of_its_readings(mode: str) -> None:
    """``/admin;x`` is public unchanged, and protected for a server that strips parameters."""
    asked = request(b"/admin;x", "OPTIONS", {**PREFLIGHT, "content-length": (b"9",)})
    seen = snapshot(AMBIGUOUS, allow_paths=frozenset({"semicolon"}), cors_preflight=mode)
    decision = decide(asked, seen, {}, NOW)
    assert isinstance(decision, Deny)


KEY = minting.new_key("known", "ES256")
JWKS_ISSUER = Issuer(
    minting.JWKS_ISSUER,
    frozenset({"ES256"}),
    keys=parse_key_set(minting.jwks(KEY), algorithms=frozenset({"ES256"}), fetched_at=NOW),
)


def signed_by(key: minting.SigningKey) -> dict[str, tuple[bytes, ...]]:
    """Return the header of a request whose token this key signed."""
    good = claims(iss=minting.JWKS_ISSUER, permissions=["closed:read"])
    return {"authorization": (f"Bearer {minting.sign(good, key)}".encode(),)}


def test_an_unknown_key_leaves_the_decision_open() -> None:
    """The service may wait for a fresh key set and ask again."""
    asked = request(headers=signed_by(minting.new_key("fresh", "ES256")))
    decision = decide(asked, snapshot(issuers=(JWKS_ISSUER,)), {}, NOW)
    assert decision == Needs(NeedsKey(0, "fresh"), PROTECTED, (BEARER,))


def test_a_known_key_decides() -> None:
    """The same token with its key in the set."""
    decision = decide(request(headers=signed_by(KEY)), snapshot(issuers=(JWKS_ISSUER,)), {}, NOW)
    assert isinstance(decision, Allow)


def test_a_remembered_token_dies_with_its_key() -> None:
    """A key that a valid answer no longer lists is refused immediately, also for cached tokens."""
    verified: dict[bytes, Verified] = {}
    asked = request(headers=signed_by(KEY))
    decide(asked, snapshot(issuers=(JWKS_ISSUER,)), verified, NOW)
    assert verified
    other = parse_key_set(
        minting.jwks(minting.new_key("known", "ES256")),
        algorithms=frozenset({"ES256"}),
        fetched_at=NOW,
    )
    rotated = JWKS_ISSUER._replace(keys=other)
    decision = decide(asked, snapshot(issuers=(rotated,)), verified, NOW)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.TOKEN_SIGNATURE


AMBIGUOUS = (
    Route(0, "any", "/*", public=True),
    Route(1, "admin", "/admin", permissions=("closed:read",)),
)


def test_a_path_with_several_readings_gets_the_strictest_decision() -> None:
    """``/admin;x`` is public unchanged, and protected for a server that strips parameters."""
    allow = frozenset({"semicolon"})
    asked = request(b"/admin;x")
    assert reason_of(asked, routes=AMBIGUOUS, allow_paths=allow) is Reason.TOKEN_MISSING
    permitted = request(b"/admin;x", headers=bearer(permissions=["closed:read"]))
    decision = decide(permitted, snapshot(AMBIGUOUS, allow_paths=allow), {}, NOW)
    assert isinstance(decision, Allow)
    assert decision.reason is Reason.OK


def test_an_undecided_reading_is_stricter_than_an_allowed_one() -> None:
    """A public reading does not hide that another one needs a key."""
    asked = request(b"/admin;x", headers=signed_by(minting.new_key("fresh", "ES256")))
    seen = snapshot(AMBIGUOUS, issuers=(JWKS_ISSUER,), allow_paths=frozenset({"semicolon"}))
    assert isinstance(decide(asked, seen, {}, NOW), Needs)


def test_the_token_may_come_from_a_cookie() -> None:
    """The snapshot says where tokens stand."""
    token = bearer(permissions=["closed:read"])["authorization"][0].removeprefix(b"Bearer ")
    asked = request(headers={"cookie": (b"token=" + token,)})
    seen = snapshot(sources=(TokenSource("cookie", "token"),))
    assert isinstance(decide(asked, seen, {}, NOW), Allow)

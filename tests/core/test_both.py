"""A user's token and a service's together, and what a service may call."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from demo import minting
from sidecar.core.decision import Allow, Deny, Needs, decide, still_valid
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import BOTH, Route
from sidecar.core.routes.table import PolicyError
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.allowed_apis import MAX_ALLOWED_APIS
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.name_lists import MAX_IDENTITY_BYTES
from sidecar.core.tokens.service_rules import ServiceRule
from tests.support.policies import HS256, NOW, SECRET, claims, policy, request, snapshot

SERVICE_SECRET = b"another secret, made up for these tests"
SERVICES = Issuer("services", frozenset({"HS256"}), secrets=(SERVICE_SECRET,))
HEADER = TokenSource("header", "x-service-token")
ROUTES = (
    Route(0, "both", "/both/{id}", principals=BOTH, permissions=("read",), owner=1),
    Route(1, "service", "/service/*", principals=frozenset({"service"})),
    Route(2, "either", "/either/*", principals=frozenset({"user", "service"})),
    Route(3, "user", "/user/*"),
    Route(4, "wide", "/*", principals=BOTH),
    Route(5, "strict", "/Strict", principals=BOTH),
    Route(6, "any", "/{any}"),
)


def seen(sources: tuple[TokenSource, ...] = (HEADER,)) -> Snapshot:
    return snapshot(ROUTES, (HS256, SERVICES))._replace(service_token_sources=sources)


def user(**others: Any) -> bytes:
    return minting.sign(claims(**{"permissions": ["read"], **others}), SECRET).encode()


def service(secret: bytes = SERVICE_SECRET, **others: Any) -> bytes:
    given = {"iss": "services", "service_id": "gateway", "exp": int(NOW) + 600, **others}
    return minting.sign(given, secret).encode()


def carrying(user: bytes | None, service: bytes | None) -> Mapping[str, Sequence[bytes]]:
    pairs = (("authorization", user and b"Bearer " + user), ("x-service-token", service))
    return {name: (value,) for name, value in pairs if value is not None}


def decided(
    path: bytes, user: bytes | None, service: bytes | None, known: Snapshot | None = None
) -> Allow | Deny | Needs:
    return decide(request(path, headers=carrying(user, service)), known or seen(), {}, NOW)


def test_both_tokens_together_are_allowed() -> None:
    """The caller is the user; the service is named beside it."""
    decision = decided(b"/both/7", user(), service())
    assert isinstance(decision, Allow)
    assert decision.verified is not None
    assert decision.service is not None
    assert decision.verified.principal.subject == "7"
    assert decision.service.principal.subject == "gateway"


@pytest.mark.parametrize(
    ("path", "user", "service", "reason"),
    [
        (b"/both/7", None, None, Reason.TOKEN_MISSING),
        (b"/both/7", user(), None, Reason.TOKEN_MISSING),
        (b"/both/7", user(), b"", Reason.TOKEN_MISSING),
        (b"/both/7", None, service(), Reason.TOKEN_MISSING),
        (b"/both/7", user(), b"x", Reason.TOKEN_MALFORMED),
        (b"/both/7", b"x", service(), Reason.TOKEN_MALFORMED),
        (b"/both/7", user(), b"a,b", Reason.MULTIPLE_CREDENTIALS),
        (b"/both/7", user(), service(SECRET), Reason.TOKEN_SIGNATURE),
        (b"/both/7", user(), service(exp=int(NOW) - 60), Reason.TOKEN_EXPIRED),
        (b"/both/7", user(), service(iss="other"), Reason.TOKEN_ISSUER),
        (b"/both/7", user(), user(), Reason.WRONG_PRINCIPAL_KIND),
        (b"/both/7", service(), service(), Reason.WRONG_PRINCIPAL_KIND),
        (b"/both/7", service(), user(), Reason.WRONG_PRINCIPAL_KIND),
        (b"/both/8", user(), service(), Reason.NOT_OWNER),
        (b"/both/7", user(permissions=[]), service(permissions=["*"]), Reason.PERMISSION_DENIED),
        (b"/both/7", user(), service(allowed_apis=[]), Reason.PERMISSION_DENIED),
        (b"/both/7", user(), service(allowed_apis=["/user/*"]), Reason.PERMISSION_DENIED),
        (b"/both/7", user(), service(allowed_apis="/*"), Reason.TOKEN_CLAIMS),
    ],
)
def test_each_of_both_tokens_must_be_good(
    path: bytes, user: bytes | None, service: bytes | None, reason: Reason
) -> None:
    """Permissions and ownership are the user's, ``allowed_apis`` the service's."""
    decision = decided(path, user, service)
    assert isinstance(decision, Deny)
    assert decision.reason is reason


@pytest.mark.parametrize(
    ("path", "user", "service", "subject"),
    [
        (b"/service/a", None, service(), "gateway"),
        (b"/service/a", service(service_id="own"), None, "own"),
        (b"/service/a", user(), service(), "gateway"),
        (b"/service/a", b"x", service(), "gateway"),
        (b"/service/a", user(), None, Reason.WRONG_PRINCIPAL_KIND),
        (b"/service/a", None, user(), Reason.WRONG_PRINCIPAL_KIND),
        (b"/either/a", user(), service(), "7"),
        (b"/either/a", None, service(), "gateway"),
        (b"/either/a", user(), None, "7"),
        (b"/either/a", None, user(), Reason.WRONG_PRINCIPAL_KIND),
        (b"/user/a", user(), b"x", "7"),
        (b"/user/a", None, service(), Reason.TOKEN_MISSING),
        (b"/service/a", None, service(allowed_apis=["/service/*"]), "gateway"),
        (b"/service/a", None, service(allowed_apis=["/either/*"]), Reason.PERMISSION_DENIED),
        (b"/service/a", service(allowed_apis=["/x"]), None, Reason.PERMISSION_DENIED),
    ],
)
def test_a_service_s_token_alone_is_for_routes_that_services_may_call(
    path: bytes, user: bytes | None, service: bytes | None, subject: str | Reason
) -> None:
    decision = decided(path, user, service)
    if isinstance(subject, Reason):
        assert isinstance(decision, Deny)
        assert decision.reason is subject
        return
    assert isinstance(decision, Allow)
    assert decision.verified is not None
    assert decision.verified.principal.subject == subject


def test_without_a_place_for_it_no_service_s_token_is_looked_for() -> None:
    """Then no request meets ``both``, and a token in that header means nothing."""
    for path, reason in ((b"/both/7", Reason.TOKEN_MISSING), (b"/service/a", Reason.TOKEN_MISSING)):
        given = user() if path == b"/both/7" else None
        decision = decided(path, given, service(), seen(()))
        assert isinstance(decision, Deny)
        assert decision.reason is reason


@pytest.mark.parametrize(
    ("allowed", "path", "covered"),
    [
        (["*"], "/wide/a/b", True),
        (None, "/wide/a/b", True),
        (["/*"], "/wide/a/b", True),
        (["/wide/*"], "/wide/a/b", True),
        (["/wide/a/*"], "/wide/a", False),
        (["/wide/{id}/b"], "/wide/a/b", True),
        (["/wide/{id}"], "/wide/a/b", False),
        (["/wide/*/b"], "/wide/a/b", True),
        (["/wide/v{version}/b"], "/wide/v1/b", True),
        (["/wide/v{version}/b"], "/wide/x/b", False),
        (["/Wide/*"], "/wide/a/b", False),
        (["wide", "user-service", "", "/wide//a", "/a?b"], "/wide/a/b", False),
        (["/x", "/wide/a/b"], "/wide/a/b", True),
        ([], "/wide/a/b", False),
    ],
)
def test_allowed_apis_are_paths_as_in_a_route(
    allowed: list[str] | None, path: str, covered: bool
) -> None:
    """Compared exactly; what is not a path matches nothing."""
    decision = decided(path.encode(), user(), service(allowed_apis=allowed))
    assert isinstance(decision, Allow) is covered


@pytest.mark.parametrize(
    "wrong", ["*", {}, 7, True, [7], ["/a", None], ["/a"] * (MAX_ALLOWED_APIS + 1)]
)
def test_a_list_that_cannot_be_read_is_not_taken_for_no_limit(wrong: object) -> None:
    decision = decided(b"/wide/a/b", user(), service(allowed_apis=wrong))
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.TOKEN_CLAIMS


def test_a_user_s_claim_of_that_name_means_nothing() -> None:
    assert isinstance(decided(b"/user/a", user(allowed_apis=[]), None), Allow)


def test_a_service_by_a_rule_is_limited_as_one_with_an_id() -> None:
    rule = ServiceRule("grant", equals="client-credentials")
    issuer = HS256._replace(service_when=(rule,))
    known = snapshot(ROUTES, (issuer,))._replace(service_token_sources=(HEADER,))
    for apis, allowed in ((["/service/*"], True), (["/other"], False)):
        token = user(grant="client-credentials", allowed_apis=apis)
        assert isinstance(decided(b"/service/a", None, token, known), Allow) is allowed


def test_a_method_in_the_query_asks_a_service_for_no_user_s_token() -> None:
    for path in (b"/service/a?_method=POST", b"/either/a?_method=PUT"):
        assert isinstance(decided(path, None, service()), Allow)


def test_every_reading_of_a_path_counts_for_both() -> None:
    """``/strict`` is ``/Strict`` to upstreams that ignore case, so it needs the service too."""
    denied = decided(b"/strict", user(), None)
    assert isinstance(denied, Deny)
    assert denied.reason is Reason.TOKEN_MISSING
    allowed = decided(b"/strict", user(), service())
    assert isinstance(allowed, Allow)
    assert allowed.route.name == "any"
    assert [each.principal.subject for each in allowed.tokens()] == ["7", "gateway"]


def test_an_allow_holds_as_long_as_both_tokens_do() -> None:
    """So a repeated request is denied when the service's token has expired."""
    for path in (b"/both/7", b"/strict"):
        known = seen()
        allow = decided(path, user(), service(exp=int(NOW) + 100))
        assert isinstance(allow, Allow)
        assert still_valid(allow, known, NOW)
        assert not still_valid(allow, known, NOW + 200)


def test_headers_that_are_too_large_together_are_refused() -> None:
    """Each is within the limit by itself."""
    long = "n" * (MAX_IDENTITY_BYTES // 2)
    both = user(username=long), service(service_id=long)
    decision = decided(b"/wide/a", *both)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.TOKEN_CLAIMS


def test_both_stands_by_itself() -> None:
    with pytest.raises(PolicyError, match="unknown kind of principal 'both'"):
        policy([Route(0, "a", "/a", principals=frozenset({"both", "user"}))])

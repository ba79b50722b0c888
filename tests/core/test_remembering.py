"""For how long Envoy may remember an allow: what decided, and nothing else, says so."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import pytest

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.reasons import Reason
from sidecar.core.remembering import LONGEST, coverage, deciding_headers, remembered_for
from sidecar.core.request import Request
from sidecar.core.routes.route import Route
from sidecar.core.routes.table import compile_policy
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.keys import KeySet
from sidecar.core.tokens.lookups import Answer, Granted, NeedsPermissions
from sidecar.core.tokens.principal import Kind, Principal
from sidecar.core.tokens.revocations import Entries, Revocations
from sidecar.core.tokens.verify import Verified

NOW, STEADY = 1_800_000_000.0, 5_000.0
BEARER = TokenSource("header", "authorization", "Bearer")
PEER = "spiffe://cluster/web"


def _snapshot(*routes: Route, **more: object) -> Snapshot:
    issuers = (
        Issuer(
            "zervi", frozenset({"RS256"}), keys=KeySet((), {}, {}, {}, frozenset({"key"}), STEADY)
        ),
    )
    return Snapshot(compile_policy(routes, digest="test"), issuers, (BEARER,), **more)  # type: ignore[arg-type]  # -- fields by name


def _verified(
    until: float = 3600.0, *, thumbprint: str | None = None, digest: bytes = b"1"
) -> Verified:
    principal = Principal(Kind.USER, "7", "zervi")
    return Verified(
        digest,
        principal,
        0,
        thumbprint,
        NOW - 60,
        NOW + until + 30,
        math.inf,
        (("x-user-id", "7"),),
    )


ROUTE = Route(0, "orders", "/orders/*")
REQUEST = Request("GET", "example.com", b"/orders/1", {}, raw_headers=True)


def _milliseconds(decision: Allow | Deny, request: Request = REQUEST, **more: object) -> int:
    return remembered_for(decision, request, _snapshot(ROUTE, **more), NOW, STEADY).milliseconds


def test_an_allow_is_remembered_for_at_most_five_seconds() -> None:
    assert LONGEST == 5.0
    assert _milliseconds(Allow(Reason.OK, ROUTE, _verified())) == 5000
    assert _milliseconds(Allow(Reason.PUBLIC, ROUTE)) == 5000


@pytest.mark.parametrize("left", [4.5, 0.25, 0.0, -10.0])
def test_no_allow_is_remembered_past_the_exp_of_any_token(left: float) -> None:
    """The leeway, 30 s here, is for clocks: memory does not add to it."""
    expected = max(int(left * 1000), 0)
    assert _milliseconds(Allow(Reason.OK, ROUTE, _verified(left))) == expected
    other = _verified(left, digest=b"2")
    assert _milliseconds(Allow(Reason.OK, ROUTE, _verified(), other, (other,))) == expected


def test_no_allow_is_remembered_past_the_max_stale_of_a_key_set() -> None:
    allow = Allow(Reason.OK, ROUTE, _verified(thumbprint="key"))
    snapshot = _snapshot(ROUTE, max_stale=3.0)
    assert remembered_for(allow, REQUEST, snapshot, NOW, STEADY + 1.0).milliseconds == 2000
    assert remembered_for(allow, REQUEST, snapshot, NOW, STEADY + 3.5).milliseconds == 0


def test_an_allow_by_a_withdrawn_key_is_not_remembered() -> None:
    assert _milliseconds(Allow(Reason.OK, ROUTE, _verified(thumbprint="another"))) == 0


@pytest.mark.parametrize(
    ("mark", "fresh", "expected"), [(b"1", 2.5, 2500), (b"2", 2.5, 0), (b"1", -1.0, 0)]
)
def test_no_allow_is_remembered_longer_than_the_answer_to_a_look_up_is_fresh(
    mark: bytes, fresh: float, expected: int
) -> None:
    """Nor where another answer has come since, though a stale one may still count."""
    question = NeedsPermissions("7")
    verified = _verified()._replace(asked=((question, b"1"),))
    answers = {question: Answer(Granted(()), mark, STEADY + fresh, STEADY + 600)}
    allow = Allow(Reason.OK, ROUTE, verified)
    for known, milliseconds in ((answers, expected), ({}, 0)):
        permit = remembered_for(allow, REQUEST, _snapshot(ROUTE), NOW, STEADY, known)  # type: ignore[arg-type]  # -- a dict has more
        assert permit.milliseconds == milliseconds, permit.why


def test_no_revoked_token_is_remembered_and_none_longer_than_the_feed_is_trusted() -> None:
    revocations = Revocations(Entries(), frozenset({"zervi"}), 3600.0, STEADY + 1.5)
    verified = _verified()
    marks = revocations.marks_of({"iat": NOW - 60}, verified.digest, verified.principal)
    allow = Allow(Reason.OK, ROUTE, verified._replace(marks=marks))
    assert _milliseconds(allow, revocations=revocations) == 1500
    revocations.trusted_until = STEADY
    assert _milliseconds(allow, revocations=revocations) == 0
    revocations.trusted_until = math.inf
    assert _milliseconds(allow, revocations=revocations) == 5000
    revocations.entries.add({"user_id": "7", "not_before": NOW}, NOW)
    assert _milliseconds(allow, revocations=revocations) == 0


@pytest.mark.parametrize("reason", [each for each in Reason if not each.allows])
def test_no_denial_is_remembered(reason: Reason) -> None:
    assert _milliseconds(Deny(reason, ROUTE)) == 0


def test_no_preflight_and_no_options_request_is_remembered() -> None:
    assert _milliseconds(Allow(Reason.PREFLIGHT, ROUTE)) == 0
    options = REQUEST._replace(method="OPTIONS")
    assert _milliseconds(Allow(Reason.OK, ROUTE, _verified()), options) == 0


def test_nothing_that_a_gateway_places_is_remembered() -> None:
    assert _milliseconds(Allow(Reason.OK, ROUTE, _verified()), placements=object()) == 0


def test_what_needs_a_mesh_identity_is_not_remembered_and_all_else_is() -> None:
    snapshot = _snapshot(ROUTE, Route(1, "internal", "/internal/*", callers=frozenset({PEER})))
    digest = hashlib.sha256(b"a.b.c").digest()
    known = {digest: _verified(digest=digest)}
    for target, expected in ((b"/internal/1", 0), (b"/orders/1", 5000)):
        headers = {"authorization": (b"Bearer a.b.c",)}
        request = REQUEST._replace(target=target, peer=PEER, headers=headers)
        decision = decide(request, snapshot, known, NOW, STEADY)
        assert isinstance(decision, Allow)
        permit = remembered_for(decision, request, snapshot, NOW, STEADY)
        assert permit.milliseconds == expected, permit.why


def test_a_digest_covers_what_decides_and_what_is_removed() -> None:
    digests = {
        coverage(["a"], ["b"]),
        coverage(["a", "b"], []),
        coverage([], ["a", "b"]),
        coverage(["a"], ["c"]),
    }
    assert len(digests) == 4
    assert coverage(["b", "a"], ["d", "c"]) == coverage(["a", "b"], ["c", "d"])


class _Read(Mapping[str, Sequence[bytes]]):
    """Headers that note which of them are read."""

    def __init__(self, headers: Mapping[str, Sequence[bytes]]) -> None:
        self.headers = headers
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Sequence[bytes]:
        self.names.add(name)
        return self.headers[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a decision must not depend on all headers")

    def __len__(self) -> int:
        return len(self.headers)


@pytest.mark.parametrize(
    "source",
    [
        BEARER,
        TokenSource("header", "x-token"),
        TokenSource("cookie", "session", origins=frozenset({"https://app.example"})),
        TokenSource("query", "access_token"),
        TokenSource("websocket_protocol", "bearer"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("filled", [False, True])
def test_a_decision_reads_no_header_that_is_not_in_the_key(
    source: TokenSource, method: str, filled: bool
) -> None:
    headers = {
        "authorization": (b"Bearer a.b.c",),
        "x-token": (b"a.b.c",),
        "cookie": (b"session=a.b.c",),
        "sec-websocket-protocol": (b"bearer, a.b.c",),
        "upgrade": (b"websocket",),
        "origin": (b"https://other.example",),
        "sec-fetch-site": (b"cross-site",),
    }
    read = _Read(headers if filled else {})
    request = Request(method, "h", b"/orders/1?access_token=a.b.c", read, raw_headers=True)
    snapshot = _snapshot(ROUTE)._replace(token_sources=(source,), service_token_sources=(source,))
    decide(request, snapshot, {}, NOW, STEADY)
    assert read.names <= {*deciding_headers([source])}

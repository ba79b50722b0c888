"""``_method`` in a query: a request is decided for each method that it names."""

import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

import pytest

from sidecar.core.decision import Allow, Deny, Needs, decide
from sidecar.core.methods import MAX_NAMED, named_methods
from sidecar.core.query import MAX_PARAMETERS, QueryError
from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route
from tests.support.policies import NOW, bearer, request, snapshot

TABLE = (
    Route(0, "read", "/x", methods=frozenset({"GET"}), public=True),
    Route(1, "write", "/x", methods=frozenset({"POST"}), permissions=("x:write",)),
    Route(2, "remove", "/x", methods=frozenset({"DELETE"}), permissions=("x:delete",)),
    Route(3, "any", "/any", permissions=("x:write",)),
)
WRITER = bearer(permissions=["x:write"])
BOTH = bearer(permissions=["x:write", "x:delete"])


def reason_of(
    query: bytes, method: str = "POST", path: bytes = b"/x", headers: object = WRITER
) -> Reason:
    """Decide on a request for ``path`` with this query."""
    asked = request(path + b"?" + query, method, headers)  # type: ignore[arg-type]  # -- of the tests' own
    decision = decide(asked, snapshot(TABLE), {}, NOW)
    assert not isinstance(decision, Needs)
    return decision.reason


SPELLINGS = [
    b"_method=DELETE",
    b"_method=delete",
    b"_method=dElEtE",
    b"a=1&_method=DELETE&b=2",
    b"%5Fmethod=DELETE",
    b"%5fmethod=DELETE",
    b"_%6dethod=%44ELETE",
    b"_METHOD=DELETE",
    b"_method=POST&_method=DELETE",
    b"_method=DELETE&_method=POST",
    b"_method[]=DELETE",
    b"_method%5B%5D=DELETE",
    b"_method[0]=DELETE",
    b"[_method]=DELETE",
    b"a=1;_method=DELETE",
    b"_method=DELETE;a=1",
    b"+_method=DELETE",
    b"%20_method=DELETE",
    b"_method=DELETE+",
    b"_method=%20delete%00",
    b".method=DELETE",
    b"_method%00x=DELETE",
    b"?_method=DELETE",
    b"& _method=DELETE".replace(b" ", b"+"),
]


@pytest.mark.parametrize("query", SPELLINGS)
def test_a_method_in_the_query_must_be_permitted_too(query: bytes) -> None:
    """PHP, Rack, Node, Spring and others each read some of these as ``_method``."""
    assert reason_of(query) is Reason.PERMISSION_DENIED
    assert reason_of(query, headers=BOTH) is Reason.OK


@pytest.mark.parametrize("query", SPELLINGS)
def test_a_public_method_does_not_hide_a_protected_one(query: bytes) -> None:
    """Nothing of the request itself asks for a token."""
    assert reason_of(query, method="GET", headers={}) is Reason.TOKEN_MISSING


@pytest.mark.parametrize(
    "query",
    [
        b"method=DELETE",
        b"a_method=DELETE",
        b"_methods=DELETE",
        b"a=_method",
        b"a=_method=DELETE",
        b"_method=POST",
        b"",
    ],
)
def test_any_other_query_changes_nothing(query: bytes) -> None:
    """The whole name must match, and the request's own method always counts."""
    assert reason_of(query) is Reason.OK


@pytest.mark.parametrize(
    ("spelling", "method"),
    [
        ("po\u017ft", "POST"),  # a long s, whose capital is S
        ("opt\u0131ons", "OPTIONS"),  # an i without its dot, whose capital is I
        ("loc\u212a", "LOCK"),  # the Kelvin sign, whose small letter is k
    ],
)
def test_a_letter_whose_other_case_is_ascii_is_read_as_that(spelling: str, method: str) -> None:
    """Ruby's and JavaScript's upper case go beyond ASCII."""
    assert named_methods(f"/?_method={quote(spelling)}".encode()) == (method,)


@pytest.mark.parametrize(
    "value", [b"", b"credit%20card", b"%ff", b"visa", b"=", b"G,T", b"%E8%AE%A2"]
)
def test_what_names_no_known_method_is_judged_as_a_method_that_no_route_names(value: bytes) -> None:
    """Upstreams ignore it, refuse it or take it as it is: nothing is permitted that was not."""
    assert reason_of(b"_method=" + value) is Reason.METHOD_NOT_ALLOWED
    assert reason_of(b"_method=" + value, path=b"/any") is Reason.OK


@pytest.mark.parametrize(
    "target", [b"/x%3F_method=DELETE", b"/x%3f_method%3DDELETE", b"/x%253F_method%253DDELETE?a=1"]
)
def test_a_query_that_appears_once_the_path_is_decoded_is_looked_through(target: bytes) -> None:
    """If such paths are allowed."""
    allow = frozenset({"encoded_question", "encoded_percent"})
    table = (replace(TABLE[1], path="/*"), replace(TABLE[2], path="/*"))
    for headers, kind in ((WRITER, Deny), (BOTH, Allow)):
        seen = snapshot(table, allow_paths=allow)
        assert isinstance(decide(request(target, "POST", headers), seen, {}, NOW), kind)
        assert isinstance(decide(request(target, "POST", headers), snapshot(table), {}, NOW), Deny)


def test_the_decision_says_under_which_method_it_was_denied() -> None:
    """To the operator; the client's own method may well be allowed there."""
    asked = request(b"/x?_method=delete", "POST", WRITER)
    decision = decide(asked, snapshot(TABLE), {}, NOW)
    assert isinstance(decision, Deny)
    assert "DELETE" in decision.detail


def test_the_allowed_route_is_that_of_the_requests_own_method() -> None:
    """Nothing is rewritten: that is what is sent on."""
    asked = request(b"/x?_method=delete", "POST", BOTH)
    decision = decide(asked, snapshot(TABLE), {}, NOW)
    assert isinstance(decision, Allow)
    assert decision.route is TABLE[1]


def test_a_named_method_makes_no_preflight() -> None:
    """Only a request that is one is."""
    headers = {**WRITER, "origin": (b"https://a.test",), "access-control-request-method": (b"GET",)}
    assert reason_of(b"_method=OPTIONS", headers=headers) is Reason.METHOD_NOT_ALLOWED


def test_more_methods_than_any_client_names_are_refused() -> None:
    """Each costs a decision."""
    query = b"&".join(b"_method=M%d" % number for number in range(MAX_NAMED + 1))
    assert reason_of(query) is Reason.MALFORMED_REQUEST
    assert len(named_methods(b"/?" + query.rpartition(b"&")[0])) == MAX_NAMED


def test_more_parameters_than_servers_read_are_refused_beside_a_method() -> None:
    """Which of them they read is unknown. Without ``_method`` they are not counted."""
    many = b"&".join([b"a=1"] * MAX_PARAMETERS)
    assert reason_of(many + b"&_method=DELETE") is Reason.MALFORMED_REQUEST
    assert reason_of(many + b"&b=1") is Reason.OK


def _seconds(target: bytes) -> float:
    taken = []
    for _ in range(5):
        started = time.thread_time()
        with suppress(QueryError):
            named_methods(target)
        taken.append(time.thread_time() - started)
    return min(taken)


@pytest.mark.parametrize(
    "piece", [b"_method=%44&", b"_method=GET&", b"%5f%6d", b"&", b"a;", b"_method", b"%"]
)
def test_the_time_that_a_query_takes_grows_with_its_length(piece: bytes) -> None:
    """Eight times the length takes far less than the 64 times of a square."""
    short = b"/?_method=GET&" + piece * (6_000 // len(piece))
    long = b"/?_method=GET&" + piece * (48_000 // len(piece))
    assert _seconds(long) < 30 * _seconds(short) + 0.001

"""What a token's claims must say: times, audience, kind."""

from typing import Any

import pytest

from sidecar.core.reasons import Reason
from tests.support.judging import NOW, SECRET, claims, secret_issuer, verdict
from tests.support.signing import token

LAST_SECOND = 253402300799  # of the year 9999


def hs256(**others: Any) -> bytes:
    return token(claims(**others), SECRET, "HS256")


WRONG_TIMES = [
    *(None, True, False, "", "soon", str(int(NOW + 600)), [], [NOW + 600], {}, {"exp": 1}),
    *(-1, -0.5, -(10**10), LAST_SECOND + 1, LAST_SECOND + 0.5, 10**30, 1.7e308),
]


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", WRONG_TIMES, ids=repr)
def test_a_time_is_a_number_from_1970_to_9999(name: str, value: object) -> None:
    """Text, booleans, null and what lies beyond are refused, in each of the three claims."""
    assert verdict(hs256(**{name: value}), secret_issuer()) is Reason.TOKEN_CLAIMS


def test_a_token_without_an_end_is_refused() -> None:
    """``exp`` is required; the others are not."""
    assert verdict(hs256(exp=...), secret_issuer()) is Reason.TOKEN_CLAIMS
    assert verdict(hs256(), secret_issuer()) is Reason.OK


@pytest.mark.parametrize("value", [NOW + 600, int(NOW) + 600, NOW + 0.25, LAST_SECOND])
def test_the_end_may_be_any_number(value: float) -> None:
    """Whole or not, soon or far away."""
    assert verdict(hs256(exp=value), secret_issuer()) is Reason.OK


@pytest.mark.parametrize(
    ("after", "reason"),
    [(-1, Reason.OK), (29.5, Reason.OK), (30, Reason.TOKEN_EXPIRED), (1e6, Reason.TOKEN_EXPIRED)],
)
def test_a_token_is_good_before_its_end_and_the_leeway(after: float, reason: Reason) -> None:
    """RFC 7519, section 4.1.4: on or after the end it is not."""
    assert verdict(hs256(exp=NOW - after), secret_issuer(), leeway=30.0) is reason


@pytest.mark.parametrize(
    ("before", "reason"),
    [(-1, Reason.OK), (30, Reason.OK), (30.5, Reason.TOKEN_NOT_YET_VALID)],
)
def test_a_token_is_good_from_its_beginning_less_the_leeway(before: float, reason: Reason) -> None:
    """RFC 7519, section 4.1.5."""
    assert verdict(hs256(nbf=NOW + before), secret_issuer(), leeway=30.0) is reason


def test_a_token_from_1970_is_expired_and_no_error() -> None:
    """Zero is a time."""
    assert verdict(hs256(exp=0), secret_issuer()) is Reason.TOKEN_EXPIRED


def test_a_token_issued_in_the_future_is_good() -> None:
    """Clocks differ; what counts is nbf."""
    assert verdict(hs256(iat=NOW + 3600), secret_issuer()) is Reason.OK


@pytest.mark.parametrize(
    "aud", ["jobfirst", ["jobfirst"], ["x", "jobfirst"], ["y", "jobfirst-users", "jobfirst"]]
)
def test_a_token_for_one_of_the_audiences_is_good(aud: object) -> None:
    """As text or in a list."""
    one = secret_issuer(audiences=frozenset({"jobfirst", "other"}))
    assert verdict(hs256(aud=aud), one) is Reason.OK


@pytest.mark.parametrize(
    "aud",
    [
        *(..., None, "", "x", "Jobfirst", "jobfirst ", {"jobfirst": 1}, 1, True),
        *([], ["x"], [["jobfirst"]], ["jobfirst", 1], ["jobfirst", None], ["jobfirst", {}]),
    ],
    ids=repr,
)
def test_a_token_for_another_audience_is_refused(aud: object) -> None:
    """And what is neither text nor a list of text names no audience."""
    one = secret_issuer(audiences=frozenset({"jobfirst"}))
    assert verdict(hs256(aud=aud), one) is Reason.TOKEN_AUDIENCE


def test_without_audiences_any_token_of_the_issuer_will_do() -> None:
    """That is what leaving them out means."""
    assert verdict(hs256(aud="any"), secret_issuer()) is Reason.OK


@pytest.mark.parametrize(
    "marks",
    [
        {"token": "refresh-"},
        {"token": "refresh-5f2c"},
        {"token_type": "refresh"},
        {"token_type": "Refresh"},
        {"token_use": "REFRESH_TOKEN"},
        {"typ": "Refresh"},
        {"typ": "refresh_token", "token_type": "access"},
    ],
    ids=str,
)
def test_a_refresh_token_is_of_the_wrong_kind(marks: dict[str, str]) -> None:
    """However good it is otherwise, a service's too."""
    assert verdict(hs256(**marks), secret_issuer()) is Reason.TOKEN_KIND
    assert verdict(hs256(service_id="s", **marks), secret_issuer()) is Reason.TOKEN_KIND


@pytest.mark.parametrize(
    "marks",
    [
        {"token": "access-5f2c"},
        {"token": None},
        {"token": ["refresh-1"]},
        {"token_type": "access", "token_use": "access", "typ": "Bearer"},
        {"token_type": 1, "typ": None},
        {"refresh": True},
    ],
    ids=str,
)
def test_an_access_token_is_of_the_right_kind(marks: dict[str, Any]) -> None:
    """Whatever else its marks say."""
    assert verdict(hs256(**marks), secret_issuer()) is Reason.OK

"""Where a request's token is found, and that it is one."""

import pytest

from sidecar.core.query import MAX_PARAMETERS
from sidecar.core.reasons import Reason
from sidecar.core.tokens.credentials import MAX_COOKIES, TokenSource, find_token
from sidecar.core.tokens.verify import TokenError
from tests.support.policies import BEARER, request

RAW_HEADER = TokenSource("header", "accesstoken")
COOKIE = TokenSource("cookie", "token")
QUERY = TokenSource("query", "token")
ALL = (BEARER, RAW_HEADER, COOKIE, QUERY)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/", {"authorization": [b"Bearer abc"]}),
        (b"/", {"authorization": [b"bEaReR   abc"]}),
        (b"/", {"authorization": [b"\t Bearer abc \t"]}),
        (b"/", {"accesstoken": [b"abc"]}),
        (b"/", {"cookie": [b"a=1; token=abc; b=2"]}),
        (b"/", {"cookie": [b"a=1", b"token=abc"]}),
        (b"/", {"cookie": [b"a=1,token=abc"]}),
        (b"/?a=1&token=abc&b=2", {}),
        (b"/?%74oken=abc", {}),
        (b"/?token=abc&TOKEN=abc", {}),
        (b"/?a=1;b=2&token=abc", {}),
        (b"/", {"cookie": [b"a=1; token =abc"]}),
        (b"/", {"cookie": [b"a=1; %74oken=abc"]}),
        (b"/?token=abc", {"authorization": [b"Bearer abc"], "cookie": [b"token=abc"]}),
    ],
)
def test_a_token_is_found_in_every_configured_place(
    target: bytes, headers: dict[str, list[bytes]]
) -> None:
    """Header with and without a scheme, cookie, query; one token in several is one credential."""
    assert find_token(request(target, headers=headers), ALL) == b"abc"


@pytest.mark.parametrize(
    ("target", "headers", "reason"),
    [
        (b"/", {}, Reason.TOKEN_MISSING),
        (b"/?tokens=abc", {"cookie": [b"xtoken=abc"]}, Reason.TOKEN_MISSING),
        (b"/", {"cookie": [b"token"]}, Reason.TOKEN_MISSING),
        (b"/", {"cookie": [b"Token=abc"]}, Reason.TOKEN_MISSING),
        (b"/?token", {}, Reason.TOKEN_MALFORMED),
        (b"/", {"authorization": [b""]}, Reason.TOKEN_MALFORMED),
        (b"/", {"authorization": [b"Bearer"]}, Reason.TOKEN_MALFORMED),
        (b"/", {"authorization": [b"Bearer   "]}, Reason.TOKEN_MALFORMED),
        (b"/", {"authorization": [b"Basic abc"]}, Reason.TOKEN_MALFORMED),
        (b"/", {"authorization": [b"abc"]}, Reason.TOKEN_MALFORMED),
        (b"/", {"accesstoken": [b""]}, Reason.TOKEN_MALFORMED),
        (b"/", {"cookie": [b"token="]}, Reason.TOKEN_MALFORMED),
        (b"/?token=", {}, Reason.TOKEN_MALFORMED),
        (b"/", {"authorization": [b"Bearer a", b"Bearer a"]}, Reason.MULTIPLE_CREDENTIALS),
        (b"/", {"authorization": [b"Bearer a,Bearer a"]}, Reason.MULTIPLE_CREDENTIALS),
        (b"/", {"authorization": [b"Bearer a,"]}, Reason.MULTIPLE_CREDENTIALS),
        (b"/", {"cookie": [b"token=a; token=b"]}, Reason.MULTIPLE_CREDENTIALS),
        (b"/?token=a&token=b", {}, Reason.MULTIPLE_CREDENTIALS),
        (b"/", {"cookie": [b"token=a; token =b"]}, Reason.MULTIPLE_CREDENTIALS),
        (b"/", {"cookie": [b"token=a; %74oken=b"]}, Reason.MULTIPLE_CREDENTIALS),
        (b"/", {"cookie": [b'token=a; token="b"']}, Reason.MULTIPLE_CREDENTIALS),
        *(
            (b"/?token=a&" + other, {}, Reason.MULTIPLE_CREDENTIALS)
            for other in (
                b"%74oken=b",
                b"tok%65n=b",
                b"TOKEN=b",
                b"token[]=b",
                b"token%5B0%5D=b",
                b"[token]=b",
                b"+token=b",
                b"%20token=b",
                b"token+=b",
                b"token%00x=b",
                b"token=%61",
                b"a=1;token=b",
                b"?token=b",
            )
        ),
        (b"/?token=a&token=", {}, Reason.TOKEN_MALFORMED),
        (b"/?token=a&token", {}, Reason.TOKEN_MALFORMED),
        (b"/?token=a;b=1", {}, Reason.MULTIPLE_CREDENTIALS),
        (b"/?b=1;token=a", {}, Reason.MULTIPLE_CREDENTIALS),
        (b"/?token=a&" + b"b=1&" * MAX_PARAMETERS, {}, Reason.MULTIPLE_CREDENTIALS),
        (b"/", {"cookie": [b"token=a;" + b"b=1;" * MAX_COOKIES]}, Reason.MULTIPLE_CREDENTIALS),
        (b"/?token=a", {"authorization": [b"Bearer b"]}, Reason.MULTIPLE_CREDENTIALS),
    ],
)
def test_anything_but_a_single_token_is_refused(
    target: bytes, headers: dict[str, list[bytes]], reason: Reason
) -> None:
    """Missing, empty, of another scheme, or more than one."""
    with pytest.raises(TokenError) as caught:
        find_token(request(target, headers=headers), ALL)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "other",
    ["access%5Ftoken", "access.token", "access token", "access[token", "access%5Btoken"],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_name_with_an_underscore_is_known_in_every_spelling(other: str, first: bool) -> None:
    """PHP reads ``access.token``, ``access token`` and ``access[token`` as ``access_token``."""
    pairs = [f"{other}=b", "access_token=a"] if first else ["access_token=a", f"{other}=b"]
    query = TokenSource("query", "access_token"), "/?" + "&".join(pairs).replace(" ", "+"), ""
    cookie = TokenSource("cookie", "access_token"), "/", "; ".join(pairs)
    for source, target, cookies in (query, cookie):
        asked = request(target.encode(), headers={"cookie": [cookies.encode()]})
        with pytest.raises(TokenError) as caught:
            find_token(asked, (source,))
        assert caught.value.reason is Reason.MULTIPLE_CREDENTIALS


@pytest.mark.parametrize(
    "cookies",
    [
        b"token=abc; a=1 token=b",
        b"a=1 token=b; token=abc",
        b"a=1\ttoken=b",
        b'a="x" token=abc',
        b"token=abc token=abc",
        b"a=1= token=b; token=abc",
        b"token= abc",
    ],
)
def test_cookies_that_only_spaces_separate_are_refused_where_one_is_the_token(
    cookies: bytes,
) -> None:
    """Python's http.cookies and aiohttp read two cookies there, most servers one."""
    with pytest.raises(TokenError) as caught:
        find_token(request(headers={"cookie": [cookies]}), (COOKIE,))
    assert caught.value.reason is Reason.MULTIPLE_CREDENTIALS


@pytest.mark.parametrize("cookies", [b"a=b c; token =abc ;d= e f", b"a=token b;token=abc"])
def test_spaces_in_other_cookies_are_ignored(cookies: bytes) -> None:
    """Some sites have them."""
    assert find_token(request(headers={"cookie": [cookies]}), (COOKIE,)) == b"abc"


def test_a_place_that_is_not_configured_is_not_looked_at() -> None:
    """A query token counts only where the configuration says so."""
    with pytest.raises(TokenError) as caught:
        find_token(request(b"/?token=abc"), (BEARER,))
    assert caught.value.reason is Reason.TOKEN_MISSING


@pytest.mark.parametrize(
    ("value", "needs"), [(b"Basic abc", ("Bearer",)), (b"abc", ("Bearer",)), (b"Bearer", ())]
)
def test_the_client_of_another_scheme_learns_the_right_one(
    value: bytes, needs: tuple[str, ...]
) -> None:
    """An empty token of the right scheme is another mistake."""
    with pytest.raises(TokenError) as caught:
        find_token(request(headers={"authorization": [value]}), ALL)
    assert caught.value.needs == needs

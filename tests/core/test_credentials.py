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
PROTOCOL = TokenSource("websocket_protocol", "bearer")
ALL = (BEARER, RAW_HEADER, COOKIE, QUERY, PROTOCOL)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/", {"authorization": [b"Bearer abc"]}),
        (b"/", {"authorization": [b"bEaReR   abc"]}),
        (b"/", {"authorization": [b"\t Bearer abc \t"]}),
        (b"/", {"accesstoken": [b"abc"]}),
        (b"/", {"cookie": [b"a=1; token=abc; b=2"]}),
        (b"/", {"cookie": [b"a=1", b"token=abc"]}),
        (b"/", {"cookie": [b'a=1; token="abc"; b=2']}),
        (b"/", {"cookie": [b'token=abc; token="abc"']}),
        (b"/?token=abc&token=", {}),
        (b"/?token=abc&token", {}),
        (b"/?token=abc", {"authorization": [b"Basic abc"]}),
        (b"/?token=abc", {"authorization": [b""], "accesstoken": [b""], "cookie": [b"token="]}),
        (b"/", {"authorization": [b"Bearer"], "cookie": [b"token=abc"]}),
        (b"/", {"sec-websocket-protocol": [b"bearer, abc"]}),
        (b"/", {"sec-websocket-protocol": [b"chat,bearer,abc,json"]}),
        (b"/", {"sec-websocket-protocol": [b"chat, bearer", b"abc"]}),
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
        (b"/?token", {}, Reason.TOKEN_MISSING),
        (b"/", {"authorization": [b""]}, Reason.TOKEN_MISSING),
        (b"/", {"authorization": [b"Bearer"]}, Reason.TOKEN_MISSING),
        (b"/", {"authorization": [b"Bearer   "]}, Reason.TOKEN_MISSING),
        (b"/", {"authorization": [b"Basic abc"]}, Reason.TOKEN_MISSING),
        (b"/", {"authorization": [b"abc"]}, Reason.TOKEN_MISSING),
        (b"/", {"accesstoken": [b""]}, Reason.TOKEN_MISSING),
        (b"/", {"cookie": [b"token="]}, Reason.TOKEN_MISSING),
        (b"/?token=", {}, Reason.TOKEN_MISSING),
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
        (b"/", {"cookie": [b'token=""']}, Reason.TOKEN_MISSING),
        (b"/", {"cookie": [b"a=1,token=abc"]}, Reason.TOKEN_MISSING),
        (b"/", {"sec-websocket-protocol": [b"bearer"]}, Reason.TOKEN_MISSING),
        (b"/", {"sec-websocket-protocol": [b"bearer, "]}, Reason.TOKEN_MISSING),
        (b"/", {"sec-websocket-protocol": [b"Bearer, abc"]}, Reason.TOKEN_MISSING),
        (b"/", {"sec-websocket-protocol": [b"abc, bearer"]}, Reason.TOKEN_MISSING),
        (
            b"/",
            {"sec-websocket-protocol": [b"bearer, a, bearer, b"]},
            Reason.MULTIPLE_CREDENTIALS,
        ),
        (
            b"/",
            {"sec-websocket-protocol": [b"bearer, a"], "cookie": [b"token=b"]},
            Reason.MULTIPLE_CREDENTIALS,
        ),
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


def test_without_raw_headers_a_comma_separates_cookies_too() -> None:
    """Envoy joins several Cookie headers by it there; in raw headers it belongs to a value."""
    joined = request(headers={"cookie": [b"a=1,token=abc, b=2"]})
    assert find_token(joined._replace(raw_headers=False), (COOKIE,)) == b"abc"
    with pytest.raises(TokenError):
        find_token(joined, (COOKIE,))


LISTED = TokenSource("cookie", "token", origins=frozenset({"https://app.test"}))
SAFE, UNSAFE = (
    ("GET", "HEAD", "OPTIONS", "TRACE"),
    ("POST", "PUT", "PATCH", "DELETE", "CONNECT", "X"),
)
CAUSED = [  # by which page, and whether a cookie counts then
    ({}, False),
    ({"sec-fetch-site": [b"same-origin"]}, True),
    ({"sec-fetch-site": [b"none"]}, True),
    ({"sec-fetch-site": [b"same-site"]}, False),
    ({"sec-fetch-site": [b"cross-site"]}, False),
    ({"sec-fetch-site": [b"same-origin", b"cross-site"]}, False),
    ({"sec-fetch-site": [b"same-origin,cross-site"]}, False),
    ({"sec-fetch-site": [b""]}, False),
    ({"origin": [b"https://app.test"]}, True),
    ({"origin": [b"https://app.test"], "sec-fetch-site": [b"cross-site"]}, True),
    ({"origin": [b"https://app.test", b"https://app.test"]}, False),
    ({"origin": [b"https://app.test.evil"]}, False),
    ({"origin": [b"https://APP.test"]}, False),
    ({"origin": [b"null"]}, False),
    ({"origin": [b"\xff"]}, False),
]


@pytest.mark.parametrize(("headers", "counts"), CAUSED)
def test_a_cookie_counts_for_an_unsafe_request_only_where_its_own_page_caused_it(
    headers: dict[str, list[bytes]], counts: bool
) -> None:
    """Else another site's page could act in the user's name (CSRF); WebSockets are as unsafe."""
    asked = request(headers={"cookie": [b"token=abc"], **headers})
    upgrade = asked._replace(headers={**asked.headers, "upgrade": [b"websocket"]})
    for method in SAFE:
        assert find_token(asked, (BEARER, LISTED), method) == b"abc"
    for each, method in (*((asked, method) for method in UNSAFE), (upgrade, "GET")):
        if counts:
            assert find_token(each, (BEARER, LISTED), method) == b"abc"
            continue
        with pytest.raises(TokenError) as caught:
            find_token(each, (BEARER, LISTED), method)
        assert caught.value.reason is Reason.TOKEN_MISSING
        assert "another site's page" in caught.value.detail


def test_no_page_can_send_another_credential_than_a_cookie() -> None:
    """A header, a parameter or a protocol with the token was written by who has the token."""
    asked = request(headers={"cookie": [b"token=abc"], "authorization": [b"Bearer abc"]})
    assert find_token(asked, (BEARER, LISTED), "POST") == b"abc"
    assert find_token(asked, (LISTED, BEARER), "POST") == b"abc"
    with pytest.raises(TokenError) as caught:
        find_token(asked._replace(target=b"/?token=b"), (LISTED, QUERY), "POST")
    assert caught.value.reason is Reason.MULTIPLE_CREDENTIALS

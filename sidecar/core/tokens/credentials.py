"""Find the one token of a request."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from sidecar.core.methods import named_methods
from sidecar.core.names import is_spelling, may_be_in
from sidecar.core.query import QueryError, parameters
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.tokens.errors import TokenError

MAX_COOKIES = 1000
"""Cookies of a request that are searched; browsers keep some 180 per site."""

WEBSOCKET_PROTOCOL = "sec-websocket-protocol"

COOKIE_HEADERS = ("cookie", "origin", "sec-fetch-site", "upgrade")
"""What decides whether a cookie counts: see ``_is_of_own_page``."""

_SPACES = b" \t"
# RFC 9110, section 9.2.1
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# Requests of the page's own origin, and those that a user made without a page.
_OWN_SITES = frozenset({b"same-origin", b"none"})
# Spaces that end a cookie to Python's http.cookies and aiohttp, and to no other server.
_GAP = re.compile(rb"(?<=[^;\s])\s+(?=[^;=\s])")


class TokenSource(NamedTuple):
    """One place where a token may be.

    ``name`` of a header is lower-case. ``scheme`` is only for headers, compared without case;
    None: the header's value is the token itself. ``websocket_protocol`` is the item after ``name``
    in Sec-WebSocket-Protocol. ``origins`` is only for cookies: the pages, beside those of the
    request's own origin, whose unsafe requests and WebSockets count.
    """

    kind: Literal["header", "cookie", "query", "websocket_protocol"]
    name: str
    scheme: str | None = None
    origins: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Name the place for operators and clients."""
        return f"{self.kind} {self.name}"


def find_token(request: Request, sources: Sequence[TokenSource], method: str = "GET") -> bytes:
    """Return the request's one token; the request is judged as one of this ``method``.

    The same token in two places is one credential. Two values of one header are always two
    credentials: which of them the upstream would read is unknown. An empty value or another scheme
    means that this source has no token. Browsers send a cookie with requests of other sites' pages
    too (CSRF), so a token that is only in cookies must be of an own page (``_is_of_own_page``).

    Raises TokenError: token_missing, multiple_credentials.
    """
    token: bytes | None = None
    counts = False
    for source in sources:
        # Raises unless it is a tuple: nothing else means "no token here".
        for found in () + _FINDERS[source.kind](request, source):  # noqa: RUF005 -- see above
            if found == b"":
                continue
            if token is not None and found != token:
                raise TokenError(Reason.MULTIPLE_CREDENTIALS, f"{source} holds another token")
            token = found
            if source.kind != "cookie" or _is_of_own_page(request, source, method) is True:
                counts = True
    if token is None or not counts:
        raise _missing(request, sources, in_cookie=token is not None)
    return token


def _missing(request: Request, sources: Sequence[TokenSource], *, in_cookie: bool) -> TokenError:
    """Say why there is no token, or why the one in a cookie does not count."""
    if in_cookie:
        detail = (
            "the token in the cookie does not count, since another site's page may have caused the"
            " request: Sec-Fetch-Site is neither same-origin nor none, and Origin is not listed"
        )
        return TokenError(Reason.TOKEN_MISSING, detail)
    details = []
    needs: tuple[str, ...] = ()
    for source in sources:
        details.append(str(source))
        if source.scheme is None or source.name not in request.headers:
            continue
        scheme = request.headers[source.name][0].strip(_SPACES).partition(b" ")[0]
        if scheme and scheme.lower() != _lower(source.scheme):
            details[-1] += f" (it does not use the scheme {source.scheme})"
            needs = (source.scheme,)
    return TokenError(Reason.TOKEN_MISSING, "no token in " + ", ".join(details), needs=needs)


def _is_of_own_page(request: Request, source: TokenSource, method: str) -> bool:
    """Say whether a cookie shows that its user meant the request, and not another site's page.

    Of a safe method other sites may get an answer that they cannot read; an upstream may obey the
    request's own method or one that its query names. Browsers set both headers (Fetch metadata;
    Fetch standard, section 3.2), and no page can change them.
    """
    methods = {method, request.method, *named_methods(request.target)}
    if methods <= _SAFE and "upgrade" not in request.headers:
        return True
    sites = request.headers.get("sec-fetch-site", ())
    if len(sites) == 1 and sites[0] in _OWN_SITES:
        return True
    origins = request.headers.get("origin", ())
    return len(origins) == 1 and origins[0].decode("latin-1") in source.origins


def carries(request: Request, sources: Sequence[TokenSource]) -> bool:
    """Say whether a request has a value that is not empty at one of the sources."""
    try:
        return any(any(_FINDERS[source.kind](request, source)) for source in sources)
    except TokenError:
        return True


def is_used(request: Request, source: TokenSource) -> bool:
    """Say whether a request has a value at this source."""
    if source.kind == "header":
        return source.name in request.headers
    try:
        return bool(_FINDERS[source.kind](request, source))
    except TokenError:
        return True


def _in_header(request: Request, source: TokenSource) -> tuple[bytes, ...]:
    values = request.headers.get(source.name)
    if values is None:
        return ()
    # Envoy joins the values of a repeated header with a comma, and no token holds one.
    if len(values) > 1 or b"," in values[0]:
        raise TokenError(Reason.MULTIPLE_CREDENTIALS, f"{source} has more than one value")
    value = values[0].strip(_SPACES)
    if source.scheme is None:
        return (value,)
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != _lower(source.scheme):
        return ()
    return (token.strip(b" "),)


@lru_cache(64)  # schemes are few
def _lower(scheme: str) -> bytes:
    return scheme.lower().encode()


def _in_cookie(request: Request, source: TokenSource) -> tuple[bytes, ...]:
    # `;` separates the pairs of one header (RFC 6265, section 4.2.1). Envoy joins several headers
    # by `,` except in raw headers, where a comma belongs to a value.
    cookies = b";".join(request.headers.get("cookie", ()))
    if not request.raw_headers:
        cookies = cookies.replace(b",", b";")
    if may_be_in(cookies, source.name) is False:
        return ()
    found = _cookie_values(cookies, source)
    if len(cookies.replace(b"; ", b";").split(None, 1)) < 2:  # nearly always
        return found
    if found != _cookie_values(_GAP.sub(b";", cookies), source):
        detail = f"{source} is read in two ways: where spaces separate cookies, and where not"
        raise TokenError(Reason.MULTIPLE_CREDENTIALS, detail)
    return found


def _cookie_values(cookies: bytes, source: TokenSource) -> tuple[bytes, ...]:
    pairs = cookies.split(b";")
    if len(pairs) > MAX_COOKIES:
        detail = f"more than {MAX_COOKIES} cookies, {source} among them"
        raise TokenError(Reason.MULTIPLE_CREDENTIALS, detail)
    values = [cookie_value(pair, source.name) for pair in pairs]
    return tuple([value for value in values if value is not None])


def cookie_value(pair: bytes, name: str) -> bytes | None:
    """Return the value in a pair of a Cookie header, None where it has another name.

    Quotes around it are not part of it (RFC 6265, section 4.1.1, permits them; servers drop them).
    """
    written, equals, value = pair.partition(b"=")
    if not equals or is_spelling(written.strip(_SPACES), name) is False:
        return None
    value = value.strip(_SPACES)
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value


def _in_websocket_protocol(request: Request, source: TokenSource) -> tuple[bytes, ...]:
    protocols = websocket_protocols(request)
    name = source.name.encode()
    return tuple([token for marker, token in pairwise(protocols) if marker == name])


def websocket_protocols(request: Request) -> list[bytes]:
    """Return the items of Sec-WebSocket-Protocol (RFC 6455, section 4.1)."""
    values = request.headers.get(WEBSOCKET_PROTOCOL, ())
    return [item.strip(_SPACES) for item in b",".join(values).split(b",")]


def _in_query(request: Request, source: TokenSource) -> tuple[bytes, ...]:
    query = request.target.partition(b"?")[2]
    try:
        found = parameters(query, source.name)
        if b";" in query and found != parameters(query, source.name, semicolons=True):
            detail = f"{source} is ambiguous: it depends on whether ; separates parameters"
            raise TokenError(Reason.MULTIPLE_CREDENTIALS, detail)
    except QueryError as error:
        raise TokenError(Reason.MULTIPLE_CREDENTIALS, f"{source}: {error}") from None
    return tuple([parameter.value for parameter in found])


_FINDERS = {
    "header": _in_header,
    "cookie": _in_cookie,
    "query": _in_query,
    "websocket_protocol": _in_websocket_protocol,
}

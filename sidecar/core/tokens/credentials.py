"""Find the one token of a request."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sidecar.core.names import is_spelling, may_be_in
from sidecar.core.query import QueryError, parameters
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.tokens.errors import TokenError

MAX_COOKIES = 1000
"""Cookies of a request that are searched; browsers keep some 180 per site."""

_SPACES = b" \t"
# Spaces that end a cookie to Python's http.cookies and aiohttp, and to no other server.
_GAP = re.compile(rb"(?<=[^;\s])\s+(?=[^;=\s])")


class TokenSource(NamedTuple):
    """One place where a token may be.

    ``name`` of a header is lower-case. ``scheme`` is only for headers, compared without case;
    None: the header's value is the token itself.
    """

    kind: Literal["header", "cookie", "query"]
    name: str
    scheme: str | None = None

    def __str__(self) -> str:
        """Name the place for operators and clients."""
        return f"{self.kind} {self.name}"


def find_token(request: Request, sources: Sequence[TokenSource]) -> bytes:
    """Return the request's one token.

    The same token in two places is one credential. Two values of one header are always two
    credentials: which of them the upstream would read is unknown.

    Raises TokenError: token_missing, token_malformed (an empty token, another scheme),
    multiple_credentials.
    """
    token: bytes | None = None
    for source in sources:
        # Raises unless it is a tuple: nothing else means "no token here".
        for found in () + _FINDERS[source.kind](request, source):  # noqa: RUF005 -- see above
            if not found:
                raise TokenError(Reason.TOKEN_MALFORMED, f"{source} holds an empty token")
            if token is not None and found != token:
                raise TokenError(Reason.MULTIPLE_CREDENTIALS, f"{source} holds another token")
            token = found
    if token is None:
        raise TokenError(Reason.TOKEN_MISSING, "no token in " + ", ".join(map(str, sources)))
    return token


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
    value = values[0].strip(b" \t")
    if source.scheme is None:
        return (value,)
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != source.scheme.lower().encode():
        detail = f"{source} does not use the scheme {source.scheme}"
        raise TokenError(Reason.TOKEN_MALFORMED, detail, needs=(source.scheme,))
    return (token.strip(b" "),)


def _in_cookie(request: Request, source: TokenSource) -> tuple[bytes, ...]:
    # `;` separates the pairs of one header (RFC 6265 section 4.2.1), Envoy joins several headers
    # by `,`.
    cookies = b";".join(request.headers.get("cookie", ())).replace(b",", b";")
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
    """Return the value in a pair of a Cookie header, None where it has another name."""
    written, equals, value = pair.partition(b"=")
    if not equals or is_spelling(written.strip(_SPACES), name) is False:
        return None
    return value.strip(_SPACES)


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


_FINDERS = {"header": _in_header, "cookie": _in_cookie, "query": _in_query}

"""Remove tokens that the upstream must not get from cookies, query and WebSocket protocols.

The rest of them stays as the client sent it, except that Envoy sorts the parameters of a query from
which it removes one.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

from sidecar.core.names import may_be_in
from sidecar.core.query import QueryError, parameters
from sidecar.core.request import Request
from sidecar.core.tokens.credentials import (
    MAX_COOKIES,
    WEBSOCKET_PROTOCOL,
    TokenSource,
    cookie_value,
    websocket_protocols,
)
from sidecar.extauthz import wire

# `,` is where Envoy joined several headers, or a part of a value: it is kept. Even where it belongs
# to a value, an upstream may split there.
_SEPARATOR = re.compile(rb"([;,])")
_NOT_IN_A_HEADER = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Withheld:
    """Removes the tokens of ``sources``, except those in headers of their own."""

    def __init__(self, sources: Iterable[TokenSource]) -> None:
        sources = tuple(sources)
        self._cookies = tuple(each.name for each in sources if each.kind == "cookie")
        self._queries = tuple(each.name for each in sources if each.kind == "query")
        self._markers = frozenset(
            each.name.encode() for each in sources if each.kind == "websocket_protocol"
        )

    def of(self, request: Request) -> bytes:
        """Return the part of an allow that removes them, empty for a request that has none."""
        left = None
        if self._cookies and "cookie" in request.headers:
            left = _without(b"; ".join(request.headers["cookie"]), self._cookies)
        query = request.target.partition(b"?")[2] if self._queries else b""
        names = {name for source in self._queries for name in _spellings(query, source)}
        protocols = None
        if self._markers and WEBSOCKET_PROTOCOL in request.headers:
            protocols = _protocols_without(request, self._markers)
        if left is None and protocols is None and not names:
            return b""
        parts = [*wire.query_removals(sorted(names))]
        if left is not None:
            (cookie,) = (
                wire.removals(["cookie"]) if left == "" else wire.headers([("cookie", left)])
            )
            parts.append(cookie)
        if protocols is not None:
            parts += wire.headers([(WEBSOCKET_PROTOCOL, protocols)])
        return wire.ok_response(parts)


def _protocols_without(request: Request, markers: frozenset[bytes]) -> str | None:
    """Return Sec-WebSocket-Protocol without what follows a marker, None if nothing does.

    The marker stays: the upstream may choose it as the protocol, which browsers insist on.
    """
    items = websocket_protocols(request)
    left = [item for before, item in pairwise((b"", *items)) if before not in markers]
    if len(left) == len(items):
        return None
    sound = [item for item in left if item.isascii() and not _NOT_IN_A_HEADER.search(item)]
    return b", ".join(sound).decode("ascii")


def _without(cookies: bytes, names: tuple[str, ...]) -> str | None:
    """Return a Cookie header without the cookies of these names, None if it has none of them.

    A cookie with characters that are invalid in a header is removed too: an answer that Envoy
    cannot read is an error, which may be an allow that removes nothing. More than ``MAX_COOKIES``
    are all removed.
    """
    if all(may_be_in(cookies, name) is False for name in names):
        return None
    pieces = _SEPARATOR.split(cookies)
    pairs = pieces[::2]
    if len(pairs) > MAX_COOKIES:
        return ""
    taken = [any(cookie_value(pair, name) is not None for name in names) for pair in pairs]
    if not any(taken):
        return None
    left = ""
    for separator, pair, out in zip((b"", *pieces[1::2]), pairs, taken, strict=True):
        if not out and not _NOT_IN_A_HEADER.search(pair):
            try:
                left += (separator + pair).decode()
            except UnicodeDecodeError:
                continue
    return left.lstrip(" \t;,").rstrip(" \t")


def _spellings(query: bytes, name: str) -> list[str]:
    """Return the spellings of a parameter in a query: Envoy removes exactly these names."""
    try:
        found = parameters(query, name)
    except QueryError:
        return [name]
    # After a NUL or a `[` there may be bytes that are invalid in an answer. Only a client that
    # hides its own token sends those.
    return [each.name.decode("ascii") for each in found if each.name.isascii()]

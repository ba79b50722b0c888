"""Tokens that the upstream must not get, taken out of a request's cookies and query.

Everything else of both stays as the client sent it, but for what Envoy does to a query that it
takes a parameter out of: it sorts the rest.
"""

import re
from collections.abc import Iterable

from sidecar.core.names import may_be_in
from sidecar.core.query import QueryError, parameters
from sidecar.core.request import Request
from sidecar.core.tokens.credentials import MAX_COOKIES, TokenSource, cookie_value
from sidecar.extauthz.header import set_header
from sidecar.pb.ext_authz_pb2 import CheckResponse

# `,` is where Envoy joined several headers, or a part of a value: it stays what it is.
_SEPARATOR = re.compile(rb"([;,])")
_NOT_IN_A_HEADER = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Withheld:
    """Takes out what stands in ``sources``; headers are not its business."""

    def __init__(self, sources: Iterable[TokenSource]) -> None:
        sources = tuple(sources)
        self._cookies = tuple(each.name for each in sources if each.kind == "cookie")
        self._queries = tuple(each.name for each in sources if each.kind == "query")

    def of(self, request: Request) -> bytes:
        """Return the part of an allow that does so, empty for a request that holds none."""
        left = None
        if self._cookies and "cookie" in request.headers:
            left = _without(b"; ".join(request.headers["cookie"]), self._cookies)
        query = request.target.partition(b"?")[2] if self._queries else b""
        names = {name for source in self._queries for name in _spellings(query, source)}
        if left is None and not names:
            return b""
        answer = CheckResponse()
        told = answer.ok_response
        if left == "":
            told.headers_to_remove.append("cookie")
        elif left is not None:
            set_header(told, "cookie", left)
        told.query_parameters_to_remove.extend(sorted(names))
        return answer.SerializeToString()


def _without(cookies: bytes, names: tuple[str, ...]) -> str | None:
    """Return a Cookie header without the cookies of these names, None where it has none of them.

    A cookie that no header can carry is left out too: what Envoy cannot read of an answer is an
    error, and may be an allow with nothing taken out. So are all of more than ``MAX_COOKIES``.
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
    """Return how a query spells a parameter: Envoy takes out what is spelt the same."""
    try:
        found = parameters(query, name)
    except QueryError:
        return [name]
    # After a NUL or a `[` there may be bytes that no answer can hold: only a client that hides its
    # token from itself writes those.
    return [each.name.decode("ascii") for each in found if each.name.isascii()]

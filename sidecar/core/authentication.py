"""Whose token a request carries: where it is, and whether it is verified."""

from collections.abc import MutableMapping
from hashlib import sha256
from typing import NamedTuple

from sidecar.core.decisions import Deny
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import BOTH, Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource, carries, find_token, is_used
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.principal import Kind
from sidecar.core.tokens.selection import Tries
from sidecar.core.tokens.verify import NeedsKey, Verified, recheck, verify
from sidecar.core.trace import Trace


class Context(NamedTuple):
    """What ``decide`` gets beside the request: its arguments of these names."""

    snapshot: Snapshot
    verified: MutableMapping[bytes, Verified]
    now: float
    steady: float | None
    trace: Trace | None
    tries: Tries


def refused(
    error: TokenError, route: Route, trace: Trace | None, user: Verified | None = None
) -> Deny:
    """Deny for a token that is missing or not accepted; ``user`` came with a service's."""
    if trace:
        trace.refused(error)
    detail, needs = error.detail, error.needs
    if user is not None:
        detail = f"the service's token beside the user's: {detail}"
        needs = (Kind.SERVICE,) if error.reason is Reason.TOKEN_MISSING else ()
    return Deny(error.reason, route, user, needs, detail=detail, facts=error.facts)


def sources_of(request: Request, route: Route, snapshot: Snapshot) -> tuple[TokenSource, ...]:
    """Return where the token for a route is that services may call, not only with a user's."""
    if route.principals == BOTH:
        return snapshot.token_sources
    user = Kind.USER in route.principals and carries(request, snapshot.token_sources)
    if user or not carries(request, snapshot.service_token_sources):
        return snapshot.token_sources
    return snapshot.service_token_sources


def authenticate(
    method: str, request: Request, sources: tuple[TokenSource, ...], context: Context
) -> Verified | NeedsKey:
    """Return the verified token of a request, or the key that it takes.

    Raises TokenError for a token that is missing or not accepted.
    """
    snapshot, verified, now, steady, trace, tries = context
    token = find_token(request, sources, method)
    if trace:
        places = [str(source) for source in sources if is_used(request, source)]
        trace.check("credential", True, f"found in {' and '.join(places)}")
    digest = sha256(token).digest()
    entry = verified.get(digest)
    if entry is not None and recheck(entry, snapshot, now, steady) is None:
        if trace:
            trace.authenticated(entry, None)
        return entry
    found = verify(token, snapshot, now, steady=steady, digest=digest, trace=trace, tries=tries)
    if isinstance(found, Verified):
        verified[digest] = found
    return found

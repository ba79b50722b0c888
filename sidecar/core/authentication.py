"""Whose token a request carries: where it is, and whether it is verified."""

from hashlib import sha256

from sidecar.core.context import Context
from sidecar.core.decisions import Deny
from sidecar.core.looked_up import confirmed, of_opaque
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import BOTH, Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource, carries, find_token, is_used
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.facts import glance
from sidecar.core.tokens.jws import is_opaque
from sidecar.core.tokens.lookups import NeedsKey, NeedsVerdict
from sidecar.core.tokens.principal import Kind
from sidecar.core.tokens.verify import Verified, recheck, verify
from sidecar.core.trace import Trace


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
) -> Verified | NeedsKey | NeedsVerdict:
    """Return the verified token of a request, or the question that must be answered first.

    Raises TokenError for a token that is missing or not accepted.
    """
    snapshot, trace = context.snapshot, context.trace
    token = find_token(request, sources, method)
    if trace:
        places = [str(source) for source in sources if is_used(request, source)]
        trace.check("credential", True, f"found in {' and '.join(places)}")
    found = _found(token, context)
    revocations = snapshot.revocations
    if revocations is not None and isinstance(found, Verified):
        if (error := revocations.refusal(found.marks, context.aged_to)) is not None:
            error.facts = glance(token, snapshot.issuers)
            if trace and found.marks is not None:
                trace.revoked(found.marks)
            try:
                raise error
            finally:
                del error  # it and this frame, which has the whole request, would name each other
        if trace:
            trace.check(
                "revocation",
                True,
                f"not revoked; entries of the feed: {len(revocations.entries):,}",
            )
    return found


def _found(token: bytes, context: Context) -> Verified | NeedsKey | NeedsVerdict:
    snapshot, verified, now, steady, trace, tries = context[:6]
    digest = sha256(token).digest()
    opaque = snapshot.opaque_issuer
    if opaque is not None and len(token) <= snapshot.token_max_bytes and is_opaque(token):
        return of_opaque(token, digest, opaque, context)
    entry = verified.get(digest)
    if entry is not None and recheck(entry, snapshot, now, steady) is None:
        if trace:
            trace.authenticated(entry, None)
    else:
        found = verify(token, snapshot, now, steady=steady, digest=digest, trace=trace, tries=tries)
        if not isinstance(found, Verified):
            return found
        # Also a revoked one: it costs no signature when it comes again.
        entry = verified[digest] = found
    introspection = snapshot.issuers[entry.issuer].introspection
    if introspection is not None and introspection.always:
        return confirmed(entry, context)
    return entry

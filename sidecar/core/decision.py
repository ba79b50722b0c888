"""Decide on one request by one snapshot."""

from collections.abc import MutableMapping

from sidecar.core.authentication import authenticate, refused, sources_of
from sidecar.core.context import Context
from sidecar.core.decisions import (
    Allow,
    Decision,
    DecisionRecord,
    Deny,
    MemoryUse,
    Needs,
    PeerInfo,
    outcome,
)
from sidecar.core.looked_up import asks_for, granted
from sidecar.core.methods import is_method, named_methods
from sidecar.core.paths.canonical import Path, PathError, canonicalise
from sidecar.core.paths.problems import PathProblem
from sidecar.core.placed import placed
from sidecar.core.preflight import decide_preflight
from sidecar.core.query import QueryError
from sidecar.core.reasons import Reason
from sidecar.core.request import Request, RequestProblem
from sidecar.core.routes.route import BOTH, USERS
from sidecar.core.routes.table import NotAllowed, Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource, find_token
from sidecar.core.tokens.facts import glance
from sidecar.core.tokens.lookups import (
    NO_ANSWERS,
    NO_ATTEMPTS,
    Answers,
    Attempts,
    NeedsKey,
    NeedsVerdict,
)
from sidecar.core.tokens.near_misses import missing_key
from sidecar.core.tokens.principal import Kind, check_together, permits, permits_service
from sidecar.core.tokens.selection import Tries, try_freely
from sidecar.core.tokens.verify import TokenError, Verified
from sidecar.core.trace import Trace
from sidecar.core.validity import still_valid

__all__ = [
    "Allow",
    "Decision",
    "DecisionRecord",
    "Deny",
    "MemoryUse",
    "Needs",
    "PeerInfo",
    "decide",
    "outcome",
    "settle",
    "still_valid",
]

_USUAL_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def decide(
    request: Request,
    snapshot: Snapshot,
    verified: MutableMapping[bytes, Verified],
    now: float,
    steady: float | None = None,
    trace: Trace | None = None,
    tries: Tries = try_freely,
    answers: Answers = NO_ANSWERS,
    attempts: Attempts = NO_ATTEMPTS,
) -> Allow | Deny | Needs:
    """Decide on one request; ``now`` is seconds since the epoch.

    ``steady`` is the same moment by the clock of ``KeySet.fetched_at``; None: ``now``.
    ``verified`` maps the SHA-256 of a whole token to that token, verified before; a token that is
    verified here is added. A path with several readings (``policy.allow_paths`` and
    ``policy.upstream``) gets the strictest decision of them, and so does a request whose query
    names another method; an allow names the canonical route. ``trace`` receives each step.
    ``tries`` bounds what a token without a known ``kid`` may cost. ``answers`` holds what look-ups
    found. ``attempts`` are the questions that were asked for this request: then an older answer
    counts too, and no further one is waited for.
    """
    method = request.method
    if method not in _USUAL_METHODS and not is_method(method):
        return _malformed(RequestProblem.INVALID_METHOD, trace)
    policy = snapshot.policy
    try:
        path = canonicalise(request.target, raw_headers=request.raw_headers, allow=policy.accepted)
        named: tuple[str, ...] = ()
        target = request.target
        if b"?" in target or not path.plain:
            named += named_methods(target)  # raises unless it is a tuple
    except (PathError, QueryError) as error:
        return _malformed(error.problem, trace)
    # A NamedTuple's own constructor takes twice as long.
    context = tuple.__new__(
        Context, (snapshot, verified, now, steady, trace, tries, answers, attempts)
    )
    decision = _decide_as(method, request, path, context)
    for method in named:
        if isinstance(decision, Deny):
            return decision
        if trace:
            trace.check("method", None, f"also judged as {method!r}, which the query names")
        other = _decide_as(method, request, path, context)
        if isinstance(other, Deny):
            return other.named_in_query(method)
        decision = _stricter(decision, other)
    if snapshot.placements is not None and isinstance(decision, Allow):
        return placed(decision, snapshot.placements, trace)
    return decision


def _decide_as(method: str, request: Request, path: Path, context: Context) -> Allow | Deny | Needs:
    """Return the strictest decision of the path's readings, for a request by this method."""
    policy, trace = context.snapshot.policy, context.trace
    routes: list[Route] = []
    strictest: Allow | Needs | None = None
    for segments in path.readings:
        if trace:
            trace.reading(path, segments)
        route = policy.match(request.host, method, segments)
        decision = _decide_route(method, request, route, segments, context)
        if isinstance(decision, Deny) or (
            path.plain and decision.route.index in policy.read_alike  # nearly always
        ):
            return decision
        strictest = decision if strictest is None else _stricter(strictest, decision)
        routes.append(decision.route)
    if strictest is None:
        return Deny(Reason.INTERNAL, detail="the path has no reading")
    if not policy.is_read_otherwise(path, request.host, routes):
        return strictest
    try:
        for segments, route in policy.reached(path, request.host, method):
            if route is routes[0] and segments is path.readings[0]:
                continue
            if trace:
                trace.neighbour(path, method, route)
            decision = _decide_route(method, request, route, segments, context)
            if isinstance(decision, Deny):
                return decision.of_neighbour()
            strictest = _stricter(strictest, decision)
    except PathError as error:
        return _malformed(error.problem, trace)
    return strictest


def _malformed(problem: PathProblem | RequestProblem, trace: Trace | None) -> Deny:
    if trace:
        trace.malformed(problem)
    return Deny(Reason.MALFORMED_REQUEST, needs=(problem,))


def _stricter(one: Allow | Needs, other: Allow | Needs) -> Allow | Needs:
    """Return the stricter of the two; an allow keeps the first one's route, which is canonical."""
    if isinstance(other, Needs):
        return other
    if isinstance(one, Needs) or other.verified is None:
        return one
    if one.verified is None:
        return other._replace(route=one.route)
    known = {each.digest for each in one.tokens()}
    others = [each for each in other.tokens() if each.digest not in known]
    return one._replace(others=(*one.others, *others)) if others else one


def settle(
    needs: Needs, request: Request, snapshot: Snapshot, steady: float, *, fetched: bool
) -> Deny:
    """Return the decision where no fresh key set has the token's key.

    ``fetched`` says whether a valid key set was fetched; ``steady`` is as for ``decide``.
    """
    key = needs.question
    if not isinstance(key, NeedsKey):
        return Deny(Reason.NOT_READY, needs.route, detail="the look-up had no end")
    if fetched and not key.first:
        reason = Reason.TOKEN_KEY_UNKNOWN
        why = missing_key(key.issuer, key.kid, snapshot.issuers)
        problem = f"the key set lacks the token's key{why}"
    else:
        reason, problem = Reason.NOT_READY, "no key set could be fetched for the token's key"
    issuer = snapshot.issuers[key.issuer]
    age = ""
    if issuer.keys is not None:
        age = f"; keys fetched {max(steady - issuer.keys.fetched_at, 0):.0f} s ago"
    detail = f"issuer {issuer.name}: {problem}{age}"
    # Only here the token is read a second time: a key that comes in time makes an allow of it.
    facts = glance(find_token(request, needs.sources), snapshot.issuers)
    return Deny(reason, needs.route, detail=detail, facts=facts)


def _decide_route(
    method: str,
    request: Request,
    route: Route | NotAllowed | None,
    segments: tuple[str, ...],
    context: Context,
) -> Allow | Deny | Needs:
    snapshot, trace = context.snapshot, context.trace
    if "OPTIONS" == method == request.method and not (isinstance(route, Route) and route.public):
        preflight = decide_preflight(request, segments, snapshot, trace)
        if preflight is not None:
            return preflight
    if trace:
        trace.matched(method, segments, route)
    if route is None:
        return Deny(Reason.NO_ROUTE)
    if isinstance(route, NotAllowed):
        return Deny(Reason.METHOD_NOT_ALLOWED, route.route, needs=route.methods)
    if route.public:
        if trace:
            trace.check("public", True, "this route needs no token")
        return Allow(Reason.PUBLIC, route)
    if route.callers:
        peer = request.peer
        if peer not in route.callers:
            detail = f"{peer} is not in callers" if peer else "the request has no mesh identity"
            if trace:
                trace.check("callers", False, f"{Reason.WRONG_CALLER}: {detail}")
            return Deny(Reason.WRONG_CALLER, route, detail=detail)
        if trace:
            trace.check("callers", True, peer)
    sources = snapshot.token_sources
    if snapshot.service_token_sources and route.principals != USERS:
        sources = sources_of(request, route, snapshot)
    try:
        entry = authenticate(method, request, sources, context)
    except TokenError as error:
        if route.optional and error.reason is Reason.TOKEN_MISSING:
            if trace:
                trace.check("public", True, "this route needs no token, and the request has none")
            return Allow(Reason.PUBLIC, route)
        return refused(error, route, trace)
    if not isinstance(entry, Verified):
        return _needs(entry, route, sources, method, request, context)
    if sources is not snapshot.token_sources and entry.principal.kind is not Kind.SERVICE:
        return Deny(Reason.WRONG_PRINCIPAL_KIND, route, entry, (Kind.SERVICE,))
    if entry.asks and asks_for(route, context):
        try:
            looked_up = granted(entry, context)
        except TokenError as error:
            if trace:
                trace.refused(error)
            return Deny(error.reason, route, entry, detail=error.detail)
        if not isinstance(looked_up, Verified):
            return Needs(looked_up, route, sources)
        entry = looked_up
    if trace:
        trace.required(entry.principal, route, segments)
    refusal = permits(entry.principal, route, segments)
    if refusal is not None:
        return Deny(refusal.reason, route, entry, refusal.needs, refusal.any_of)
    # A NamedTuple's own constructor takes twice as long.
    allow = tuple.__new__(Allow, (Reason.OK, route, entry, None, (), ()))
    if route.principals != BOTH:
        return allow
    return _decide_service(method, request, allow, segments, context)


def _needs(
    question: NeedsKey | NeedsVerdict,
    route: Route,
    sources: tuple[TokenSource, ...],
    method: str,
    request: Request,
    context: Context,
) -> Needs:
    if not isinstance(question, NeedsKey):
        return Needs(question, route, sources, find_token(request, sources, method))
    if context.trace:
        context.trace.unknown_key(question)
    return Needs(question, route, sources)


def _decide_service(
    method: str, request: Request, user: Allow, segments: tuple[str, ...], context: Context
) -> Allow | Deny | Needs:
    """Decide on the service's token, where everything else is allowed."""
    route, sources, trace = user.route, context.snapshot.service_token_sources, context.trace
    if trace:
        trace.service()
    try:
        service = authenticate(method, request, sources, context)
        if isinstance(service, Verified) and user.verified is not None:
            check_together(user.verified.identity, service.identity[:1])
    except TokenError as error:
        return refused(error, route, trace, user.verified)
    if not isinstance(service, Verified):
        return _needs(service, route, sources, method, request, context)
    refusal = permits_service(service.principal, segments)
    if trace:
        trace.allowed_api(service.principal, refusal)
    if refusal is not None:
        reason, needs, any_of = refusal
        return Deny(reason, route, user.verified, needs, any_of, service=service)
    return user._replace(service=service, others=(service,))

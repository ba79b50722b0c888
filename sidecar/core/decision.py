"""Decide on one request by one snapshot."""

from collections.abc import Callable, MutableMapping
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, NamedTuple

from sidecar.core.methods import is_method, named_methods
from sidecar.core.paths.canonical import Path, PathError, canonicalise
from sidecar.core.paths.problems import PathProblem
from sidecar.core.preflight import may_be_forwarded, preflight_method
from sidecar.core.query import QueryError
from sidecar.core.reasons import Reason
from sidecar.core.request import Request, RequestProblem
from sidecar.core.routes.table import NotAllowed, Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import find_token, is_used
from sidecar.core.tokens.facts import TokenFacts, glance
from sidecar.core.tokens.near_misses import missing_key
from sidecar.core.tokens.principal import Kind, permits
from sidecar.core.tokens.selection import Tries, try_freely
from sidecar.core.tokens.verify import NeedsKey, TokenError, Verified, recheck, verify
from sidecar.core.trace import Trace

if TYPE_CHECKING:
    from sidecar.core.placement.place import Placements


class Allow(NamedTuple):
    """The request may pass; ``verified`` is None where no token was needed.

    ``servers`` are the addresses (``ip:port``) that may serve it, the best first; empty where Envoy
    chooses.
    """

    reason: Reason
    route: Route
    verified: Verified | None = None
    servers: tuple[str, ...] = ()


class Deny(NamedTuple):
    """The request may not pass.

    ``needs`` is for the client: what is missing (permissions, roles, methods, the scheme), all of
    it or, with ``any_of``, one of it. For ``malformed_request`` it is the problem of the request
    (``PathProblem`` and its like). ``detail`` and ``facts`` (of a token that was not accepted) are
    only for the operator's log.
    """

    reason: Reason
    route: Route | None = None
    verified: Verified | None = None
    needs: tuple[str, ...] = ()
    any_of: bool = False
    detail: str = ""
    facts: TokenFacts | None = None


class Needs(NamedTuple):
    """No decision yet: it needs the token's key, which a fresh key set of the issuer may have."""

    key: NeedsKey
    route: Route


Decision = Allow | Deny


def outcome(decision: Decision) -> Literal["allow", "deny", "answer"]:
    """Return the word for a decision in logs and metrics.

    A preflight that the sidecar answers is a denial only to Envoy: it must not reach an upstream.
    """
    if isinstance(decision, Allow):
        return "allow"
    return "answer" if decision.reason is Reason.PREFLIGHT_ANSWERED else "deny"


class PeerInfo(NamedTuple):
    """The addresses that Envoy saw for a request, and the ``context_extensions`` of its route."""

    source: str = ""
    destination: str = ""
    context: tuple[tuple[str, str], ...] = ()


class DecisionRecord(NamedTuple):
    """One decision, for metrics and the decision log; recorded after the answer was sent.

    ``time`` is seconds since the epoch, ``seconds`` the duration of the Check. ``request`` is None
    where the message could not be read. ``cached`` says whether the token was verified before; None
    where no token was read. ``peer_info`` reads
    the message again, which few callers need.
    """

    time: float
    seconds: float
    decision_id: str
    decision: Decision
    request: Request | None
    policy_digest: str
    cached: bool | None = None
    peer_info: Callable[[], PeerInfo] = PeerInfo


def decide(
    request: Request,
    snapshot: Snapshot,
    verified: MutableMapping[bytes, Verified],
    now: float,
    steady: float | None = None,
    trace: Trace | None = None,
    tries: Tries = try_freely,
) -> Allow | Deny | Needs:
    """Decide on one request; ``now`` is seconds since the epoch.

    ``steady`` is the same moment by the clock of ``KeySet.fetched_at``; None: ``now``.
    ``verified`` maps the SHA-256 of a whole token to that token, verified before; a token that is
    verified here is added. A path with several readings (``policy.allow_paths`` and
    ``policy.upstream``) gets the strictest decision of them, and so does a request whose query
    names another method; an allow names the canonical route. ``trace`` receives each step.
    ``tries`` bounds what a token without a known ``kid`` may cost.
    """
    if not is_method(request.method):
        return _malformed(RequestProblem.INVALID_METHOD, trace)
    policy = snapshot.policy
    try:
        path = canonicalise(request.target, raw_headers=request.raw_headers, allow=policy.accepted)
        named: tuple[str, ...] = ()
        if b"?" in request.target or b"%" in request.target:
            named += named_methods(request.target)  # raises unless it is a tuple
    except (PathError, QueryError) as error:
        return _malformed(error.problem, trace)
    decision = _decide_as(
        request.method, request, path, snapshot, verified, now, steady, trace, tries
    )
    for method in named:
        if isinstance(decision, Deny):
            return decision
        if trace:
            trace.check("method", None, f"also judged as {method!r}, which the query names")
        other = _decide_as(method, request, path, snapshot, verified, now, steady, trace, tries)
        if isinstance(other, Deny):
            return _named_in_query(other, method)
        decision = _stricter(decision, other)
    if snapshot.placements is not None and isinstance(decision, Allow):
        return _placed(decision, snapshot.placements, trace)
    return decision


def _placed(allow: Allow, placements: "Placements", trace: Trace | None) -> Allow | Deny:
    """Add the addresses that may serve an allowed request, or deny it where there are none."""
    target, verified = allow.route.target, allow.verified
    if not target:
        denial = Deny(Reason.NO_UPSTREAM, allow.route, verified, detail="the route has no target")
    elif target in placements.fixed:
        if trace:
            trace.check("placement", True, f"{target} is in gateway.services: Envoy chooses")
        return allow
    elif verified is None:
        # There is no caller to place: Envoy chooses among the instances that can serve.
        if placements.serves(target):
            if trace:
                trace.check("placement", True, f"no caller: Envoy chooses an instance of {target}")
            return allow
        denial = _no_instance(allow)
    else:
        principal = verified.principal
        user = principal.kind is Kind.USER
        servers = placements.place(target, principal.subject, user=user)
        if servers:
            if trace:
                trace.check("placement", True, f"{target}: {', then '.join(servers)}")
            return allow._replace(servers=servers)
        denial = _no_instance(allow)
    if trace:
        trace.check("placement", False, f"{denial.reason}: {denial.detail}")
    return denial


def _no_instance(allow: Allow) -> Deny:
    detail = f"no usable instance of {allow.route.target}"
    return Deny(Reason.NO_UPSTREAM, allow.route, allow.verified, detail=detail)


def _decide_as(
    method: str,
    request: Request,
    path: Path,
    snapshot: Snapshot,
    verified: MutableMapping[bytes, Verified],
    now: float,
    steady: float | None,
    trace: Trace | None,
    tries: Tries,
) -> Allow | Deny | Needs:
    """Return the strictest decision of the path's readings, for a request by this method."""
    policy = snapshot.policy
    routes: list[Route] = []
    strictest: Allow | Needs | None = None
    for segments in path.readings:
        if trace:
            trace.reading(path, segments)
        route = policy.match(request.host, method, segments)
        decision = _decide_route(
            method, request, route, segments, snapshot, verified, now, steady, trace, tries
        )
        if isinstance(decision, Deny):
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
            decision = _decide_route(
                method, request, route, segments, snapshot, verified, now, steady, trace, tries
            )
            if isinstance(decision, Deny):
                return _of_neighbour(decision)
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
    if isinstance(one, Needs) or one.verified is not None or other.verified is None:
        return one
    return other._replace(route=one.route)


def _of_neighbour(denial: Deny) -> Deny:
    """Explain to the operator that another route than that of the canonical path denies."""
    path = denial.route.path if denial.route is not None else "no route"
    detail = f"some upstreams route this path to {path}. {denial.detail}".rstrip()
    return denial._replace(detail=detail)


def _named_in_query(denial: Deny, method: str) -> Deny:
    """Explain to the operator that not the request's own method is denied."""
    shown = method if is_method(method) else "an invalid method"
    return denial._replace(detail=f"_method in the query names {shown}. {denial.detail}".rstrip())


def still_valid(allow: Allow, snapshot: Snapshot, now: float, steady: float | None = None) -> bool:
    """Say whether ``decide`` would allow the same request at ``now``, by the same policy.

    Times are as for ``decide``. Apart from the policy, only the token's time and key can change.
    """
    return allow.verified is None or recheck(allow.verified, snapshot, now, steady) is None


def settle(
    needs: Needs, request: Request, snapshot: Snapshot, steady: float, *, fetched: bool
) -> Deny:
    """Return the decision where no fresh key set has the token's key.

    ``fetched`` says whether a valid key set was fetched; ``steady`` is as for ``decide``.
    """
    key = needs.key
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
    facts = glance(find_token(request, snapshot.token_sources), snapshot.issuers)
    return Deny(reason, needs.route, detail=detail, facts=facts)


def _decide_route(
    method: str,
    request: Request,
    route: Route | NotAllowed | None,
    segments: tuple[str, ...],
    snapshot: Snapshot,
    verified: MutableMapping[bytes, Verified],
    now: float,
    steady: float | None,
    trace: Trace | None,
    tries: Tries,
) -> Allow | Deny | Needs:
    if method == request.method == "OPTIONS" and not (isinstance(route, Route) and route.public):
        preflight = _decide_preflight(request, segments, snapshot, trace)
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
    if route.callers and request.peer not in route.callers:
        if trace:
            trace.check("callers", False, f"{Reason.WRONG_CALLER}: {request.peer or 'no identity'}")
        return Deny(Reason.WRONG_CALLER, route)
    try:
        entry = _authenticate(method, request, snapshot, verified, now, steady, trace, tries)
    except TokenError as error:
        if route.optional and error.reason is Reason.TOKEN_MISSING:
            if trace:
                trace.check("public", True, "this route needs no token, and the request has none")
            return Allow(Reason.PUBLIC, route)
        if trace:
            trace.refused(error)
        return Deny(error.reason, route, needs=error.needs, detail=error.detail, facts=error.facts)
    if isinstance(entry, NeedsKey):
        if trace:
            trace.unknown_key(entry)
        return Needs(entry, route)
    if trace:
        trace.required(entry.principal, route, segments)
    refusal = permits(entry.principal, route, segments)
    if refusal is not None:
        return Deny(refusal.reason, route, entry, refusal.needs, refusal.any_of)
    return Allow(Reason.OK, route, entry)


def _decide_preflight(
    request: Request, segments: tuple[str, ...], snapshot: Snapshot, trace: Trace | None
) -> Allow | Deny | None:
    """Decide on a CORS preflight; None for a request that is decided like any other."""
    policy = snapshot.policy
    if policy.cors_preflight == "off":
        return None
    asked = preflight_method(request)
    if asked is None:
        return None
    forward = policy.cors_preflight == "forward"
    if trace:
        trace.check("preflight", None, f"CORS preflight for {asked}")
    if forward and not may_be_forwarded(request, snapshot.token_sources):
        if trace:
            text = "not a preflight: it carries a credential or a body, which browsers do not send"
            trace.check("preflight", None, text)
        return None
    route = policy.match(request.host, asked, segments)
    if trace:
        trace.matched(asked, segments, route)
    if route is None:
        return Deny(Reason.NO_ROUTE)
    if isinstance(route, NotAllowed):
        return Deny(Reason.METHOD_NOT_ALLOWED, route.route, needs=route.methods)
    if forward:
        return Allow(Reason.PREFLIGHT, route)
    if trace:
        text = f"{Reason.PREFLIGHT_ANSWERED}: no request reaches the upstream"
        trace.check("preflight", False, text)
    return Deny(Reason.PREFLIGHT_ANSWERED, route)


def _authenticate(
    method: str,
    request: Request,
    snapshot: Snapshot,
    verified: MutableMapping[bytes, Verified],
    now: float,
    steady: float | None,
    trace: Trace | None,
    tries: Tries,
) -> Verified | NeedsKey:
    token = find_token(request, snapshot.token_sources, method)
    if trace:
        places = [str(source) for source in snapshot.token_sources if is_used(request, source)]
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

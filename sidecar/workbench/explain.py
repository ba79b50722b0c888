"""Trace one request, step by step.

Each step calls the same function of ``core`` as ``decide``, in the same order; the decision itself
is the engine's. A test compares both with the service.
"""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sidecar.core.methods import is_method, named_methods
from sidecar.core.paths.canonical import Path, PathError, canonicalise
from sidecar.core.preflight import may_be_forwarded, preflight_method
from sidecar.core.query import QueryError
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import NotAllowed, Route
from sidecar.core.tokens import jws
from sidecar.core.tokens.credentials import TokenSource, find_token
from sidecar.core.tokens.principal import (
    ALL_PERMISSIONS,
    Kind,
    Principal,
    held_by,
    permits,
    principal_from_claims,
)
from sidecar.core.tokens.verify import CHECKS, NeedsKey, TokenError, Verified, recheck, verify
from sidecar.documents.findings import one_line
from sidecar.extauthz.messages import MALFORMED
from sidecar.workbench.candidates import candidates, near_misses
from sidecar.workbench.engine import Bench, Judged
from sidecar.workbench.how_reached import how_reached
from sidecar.workbench.logs import Part
from sidecar.workbench.principals import Claims, TakenAsVerified, Who

_ANY_KIND = frozenset(Kind)
_PART_OF = {  # what a requirement depends on; roles and permissions can only allow
    "principals": Part.KIND,
    "issuers": Part.ISSUER,
    "permissions": Part.HELD,
    "any_permissions": Part.HELD,
    "roles": Part.HELD,
    "owner": Part.HELD,
}


class Step(NamedTuple):
    """One step; ``held`` is None for information only."""

    name: str
    held: bool | None
    text: str


_ANSWERED = Step(
    "preflight", False, f"{Reason.PREFLIGHT_ANSWERED}: no request reaches the upstream"
)


class Explanation(NamedTuple):
    """The decision on a request, and its steps.

    Without ``verdict`` the request is from a log that lacks what a decision needs.
    """

    judged: Judged
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    verdict: bool = True


class Explainer:
    """Explains requests; ``lines`` are those of the routes in the policy's file, ``file``."""

    def __init__(self, bench: Bench, file: str, lines: tuple[int, ...]) -> None:
        self.bench = bench
        self._snapshot = bench.snapshot
        self._file = file
        self._lines = lines

    def place(self, route: Route) -> str:
        """Return the file and line of a route."""
        return f"{self._file}:{self._lines[route.index]}"

    def explain(
        self, request: Request, who: Who, lacks: frozenset[Part] = frozenset()
    ) -> Explanation:
        """Explain one request; ``lacks`` is what is not known of the caller.

        Raises UnknownIssuerError.
        """
        carrying, verified = self.bench.carry(request, who)
        judged = self.bench.judge(request, who)
        return Explanation(judged, tuple(self._steps(carrying, verified, who, lacks)))

    def _steps(
        self,
        request: Request,
        verified: TakenAsVerified,
        who: Who,
        lacks: frozenset[Part],
    ) -> Iterator[Step]:
        policy = self._snapshot.policy
        try:
            path = canonicalise(request.target, raw_headers=True, allow=policy.allow_paths)
            named = named_methods(request.target)
        except (PathError, QueryError) as error:
            yield Step("path", False, MALFORMED[error.problem][False])
            return
        if not is_method(request.method):
            yield Step("method", False, f"invalid HTTP method {request.method!r}")
            return
        yield from self._readings(request.method, request, path, verified, who, lacks)
        for method in named:
            text = f"also judged as {method!r}, which _method in the query names"
            yield Step("method", None, one_line(text))
            yield from self._readings(method, request, path, verified, who, lacks)

    def _readings(
        self,
        method: str,
        request: Request,
        path: Path,
        verified: TakenAsVerified,
        who: Who,
        lacks: frozenset[Part],
    ) -> Iterator[Step]:
        seen: set[Step] = set()
        for segments in path.readings:
            several = f", one of {len(path.readings)} readings" if len(path.readings) > 1 else ""
            yield Step("path", True, one_line("/" + "/".join(segments)) + several)
            for step in self._reading(method, request, segments, verified, who, lacks):
                seen.add(step)
                yield step
        if all(step.held is not False for step in seen):
            for step in self._neighbours(method, request, path, verified, who, lacks):
                if step not in seen:  # the token is the same
                    yield step

    def _neighbours(
        self,
        method: str,
        request: Request,
        path: Path,
        verified: TakenAsVerified,
        who: Who,
        lacks: frozenset[Part],
    ) -> Iterator[Step]:
        """Yield the requirements of the path's other readings, where its own allow it."""
        policy = self._snapshot.policy
        routes = [policy.match(request.host, method, segments) for segments in path.readings]
        own = [route for route in routes if isinstance(route, Route)]
        if len(own) < len(routes):
            return  # a preflight, for which another method's routes count
        if not policy.is_read_otherwise(path, request.host, own):
            return
        try:
            reached = list(policy.reached(path, request.host, method))
        except PathError as error:
            yield Step("path", False, MALFORMED[error.problem][False])
            return
        for segments, found in reached:
            if found in own:
                continue
            route = found.route if isinstance(found, NotAllowed) else found
            how = how_reached(policy, path, request.host, method, found)
            yield Step("neighbour", None, f"for {how}, this path is {self._named(route)}")
            asked = None
            if method == request.method and not (isinstance(found, Route) and found.public):
                asked = yield from self._preflight(request)
            if asked:
                if policy.cors_preflight == "answer":
                    yield _ANSWERED
            elif isinstance(found, NotAllowed):
                yield self._other_method(found, method)
            else:
                yield from self._requirements(request, found, segments, verified, who, lacks)

    def _reading(
        self,
        method: str,
        request: Request,
        segments: tuple[str, ...],
        verified: TakenAsVerified,
        who: Who,
        lacks: frozenset[Part],
    ) -> Iterator[Step]:
        policy = self._snapshot.policy
        found = policy.match(request.host, method, segments)
        asked = None
        if method == request.method and not (isinstance(found, Route) and found.public):
            asked = yield from self._preflight(request)
        if asked:
            method = asked
            found = policy.match(request.host, method, segments)
        yield from self._candidates(request.host, method, segments, found)
        if not isinstance(found, Route):
            return
        if not asked:
            yield from self._requirements(request, found, segments, verified, who, lacks)
        elif policy.cors_preflight == "answer":
            yield _ANSWERED

    def _requirements(
        self,
        request: Request,
        found: Route,
        segments: tuple[str, ...],
        verified: TakenAsVerified,
        who: Who,
        lacks: frozenset[Part],
    ) -> Iterator[Step]:
        if found.public:
            yield Step("public", True, "the route is public; tokens are ignored")
            return
        entry = yield from self._token(request, verified, who, lacks)
        if entry is not None:
            yield from requirements(entry.principal, found, segments, lacks)

    def _preflight(self, request: Request) -> Generator[Step, None, str | None]:
        """Yield the steps of a CORS preflight; return the method that it asks for."""
        mode = self._snapshot.policy.cors_preflight
        asked = None if mode == "off" else preflight_method(request)
        if not asked:
            return None
        yield Step("preflight", None, f"CORS preflight for {asked}")
        if mode == "forward" and not may_be_forwarded(request, self._snapshot.token_sources):
            text = "not a preflight: it carries a credential or a body, which browsers do not send"
            yield Step("preflight", None, text)
            return None
        return asked

    def _candidates(
        self,
        host: str,
        method: str,
        segments: tuple[str, ...],
        found: Route | NotAllowed | None,
    ) -> Iterator[Step]:
        policy = self._snapshot.policy
        listed = candidates(policy, host, method, segments)
        if found is None:
            yield Step("route", False, "no route matches, so the request is denied")
            for near in () if listed else near_misses(policy, segments):
                yield Step("similar", None, f"{self._named(near.route)}: {near.lost}")
        for route, lost in listed:
            if isinstance(found, Route) and route is found:
                yield Step("route", True, self._named(route))
            elif isinstance(found, NotAllowed) and route is found.route:
                yield self._other_method(found, method)
            else:
                yield Step("not selected", None, f"{self._named(route)}: {lost}")

    def _other_method(self, found: NotAllowed, method: str) -> Step:
        takes = f"{self._named(found.route)}: this path accepts {', '.join(found.methods)}"
        return Step("route", False, f"{takes}, not {method}")

    def _named(self, route: Route) -> str:
        return f"{route.name}, {route.path} at {self.place(route)}"

    def _token(
        self, request: Request, verified: TakenAsVerified, who: Who, lacks: frozenset[Part]
    ) -> Generator[Step, None, Verified | None]:
        """Yield the steps from the request to a verified token; return it if there is one."""
        sources = self._snapshot.token_sources
        try:
            token = find_token(request, sources)
        except TokenError as error:
            yield Step("credential", False, f"{error.reason}: {error.detail}")
            return None
        places = [str(source) for source in sources if _holds(request, source)]
        yield Step("credential", True, f"found in {' and '.join(places)}")
        if isinstance(who, Claims | Principal):
            try:
                entry = verified.get(hashlib.sha256(token).digest())
            except TokenError as error:
                yield Step("claims", False, f"{error.reason}: {error.detail}")
                return None
            if entry is not None and recheck(entry, self._snapshot, self.bench.now) is None:
                issuer = "" if Part.ISSUER in lacks else f", issued by {entry.principal.issuer}"
                yield Step("token", True, f"the claims count as verified{issuer}")
                yield Step("claims", True, describe(entry.principal, lacks))
                if isinstance(who, Claims):
                    yield from self._limited(who.claims, entry)
                return entry
        held: list[str] = []
        problem = ""
        found: Verified | NeedsKey | None = None
        try:
            found = verify(token, self._snapshot, self.bench.now, held.append)
        except TokenError as error:
            problem = f"{error.reason}: {error.detail}"
        if isinstance(found, NeedsKey):
            problem = f"{Reason.TOKEN_KEY_UNKNOWN}: the key set has no key {found.kid!r}"
            if found.first:
                problem = f"{Reason.NOT_READY}: the issuer has no key set yet"
        if held:
            texts = _texts_of_checks(jws.read(token))
            texts["claims"] = describe(found.principal) if isinstance(found, Verified) else ""
            for name in held:
                yield Step(name, True, one_line(texts[name]))
        if isinstance(found, Verified):
            yield from self._limited(jws.read(token).claims, found)
            return found
        yield Step(CHECKS[len(held)], False, one_line(problem))
        return None

    def _limited(self, claims: Mapping[str, Any], entry: Verified) -> Iterator[Step]:
        """Yield what the claims contain and their issuer cannot grant."""
        issuer = self._snapshot.issuers[entry.issuer]
        unlimited = issuer._replace(grantable=None, grantable_roles=None)
        try:
            said = principal_from_claims(claims, unlimited)
        except TokenError:  # more than the upstream could be told, before most of it was cut off
            yield Step(
                "grantable",
                None,
                f"{issuer.name} may grant only a part of the token's roles and permissions",
            )
            return
        held = entry.principal
        roles = [role for role in said.roles if role not in held.roles]
        permissions = [name for name in said.permissions if name not in held.granted]
        if held.patterns is not None:
            permissions.remove(ALL_PERMISSIONS)
            limited = ", ".join(held.patterns.texts)
            yield Step(
                "grantable", None, one_line(f"{issuer.name} may grant only {limited} for `*`")
            )
        for what, names in (("roles", roles), ("permissions", permissions)):
            if names:
                lost = one_line(f"{issuer.name} may not grant the {what} {', '.join(names)}")
                yield Step("grantable", None, lost)


def requirements(
    principal: Principal,
    route: Route,
    segments: tuple[str, ...],
    lacks: frozenset[Part] = frozenset(),
) -> Iterator[Step]:
    """Yield each requirement of a route, met or not: ``permits`` checks each by itself.

    A requirement that depends on something in ``lacks`` is not decided.
    """
    nothing = replace(
        route,
        principals=_ANY_KIND,
        issuers=frozenset(),
        permissions=(),
        any_permissions=(),
        roles=(),
        owner=None,
        owner_unless=(),
    )
    owner = ""
    if route.owner is not None and route.owner < len(segments):
        owner = f"the owner is {segments[route.owner]}, the caller is {principal.subject}"
        if route.owner_unless:
            owner += f"; not required with {' or '.join(route.owner_unless)}"
    for keys, wanted in (
        (("principals",), "kind " + " or ".join(sorted(route.principals))),
        (("issuers",), "issued by " + " or ".join(sorted(route.issuers))),
        (("permissions",), "all of " + ", ".join(route.permissions)),
        (("any_permissions",), "any of " + ", ".join(route.any_permissions)),
        (("roles",), "any of " + ", ".join(route.roles)),
        (("owner", "owner_unless"), owner),
    ):
        given = {key: getattr(route, key) for key in keys}
        if given[keys[0]] in ((), None, frozenset()):
            continue
        refusal = permits(principal, replace(nothing, **given), segments)
        part = _PART_OF[keys[0]]
        unwaivable = keys[0] == "owner" and not route.owner_unless
        opened = part is Part.HELD and refusal is None
        if part in lacks and not unwaivable and not opened:
            yield Step(
                keys[0], None, f"{wanted}; not judged: the log does not contain the caller's {part}"
            )
        elif refusal is None:
            yield Step(keys[0], True, wanted)
        else:
            lacking = "" if refusal.any_of else f"; missing: {', '.join(refusal.needs)}"
            yield Step(keys[0], False, f"{refusal.reason}: {wanted}{lacking}")


def describe(principal: Principal, lacks: frozenset[Part] = frozenset()) -> str:
    """Describe a principal: who it is and what it has."""
    kind = "" if Part.KIND in lacks else f"{principal.kind} "
    parts = [f"{kind}{principal.subject}"]
    if principal.username:
        parts[0] += f" ({principal.username})"
    if Part.HELD in lacks:
        return one_line(f"{parts[0]}; {Part.HELD} are not in the log")
    parts.append(f"roles {', '.join(principal.roles)}" if principal.roles else "no roles")
    held = ", ".join(held_by(principal))
    parts.append(f"permissions {held}" if held else "no permissions")
    return one_line("; ".join(parts))


def _holds(request: Request, source: TokenSource) -> bool:
    try:
        find_token(request, (source,))
    except TokenError:
        return False
    return True


def _texts_of_checks(token: jws.UnverifiedToken) -> dict[str, str]:
    """Return a text for each check that a token has passed."""
    claims = token.claims
    times = [f"{name} {_moment(claims[name])}" for name in ("nbf", "exp") if name in claims]
    return {
        "form": f"three parts, alg {token.alg}" + (f", kid {token.kid}" if token.kid else ""),
        "issuer": f"iss {claims['iss']}"
        if "iss" in claims
        else "no iss: the issuer with allow_missing_issuer",
        "times": ", ".join(times),
        "audience": f"aud {claims['aud']}" if "aud" in claims else "not required",
        "kind": "not a refresh token",
        "key": "the issuer has a matching key or secret",
        "signature": "valid",
    }


def _moment(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return "(not a number)"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

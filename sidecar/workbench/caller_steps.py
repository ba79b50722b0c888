"""Explains a caller: the token, each of its checks, and what a route requires."""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import Route
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
from sidecar.workbench.engine import PolicyEngine
from sidecar.workbench.logs import CallerField
from sidecar.workbench.principals import Caller, GivenClaims, TakenAsVerified

_ANY_KIND = frozenset(Kind)
_FIELD_OF = {  # what a requirement depends on
    "principals": CallerField.KIND,
    "issuers": CallerField.ISSUER,
    "permissions": CallerField.HELD,
    "any_permissions": CallerField.HELD,
    "roles": CallerField.HELD,
    "owner": CallerField.HELD,
}


class Step(NamedTuple):
    """One step; ``held`` says whether a check passed, and is None for a remark."""

    name: str
    held: bool | None
    text: str


class Presented(NamedTuple):
    """A request with its caller; ``lacks`` is what a log does not contain about the caller."""

    request: Request
    verified: TakenAsVerified
    caller: Caller
    lacks: frozenset[CallerField]


def route_steps(
    engine: PolicyEngine, presented: Presented, route: Route, segments: tuple[str, ...]
) -> Iterator[Step]:
    """Yield the steps from a matching route to the decision."""
    if route.public:
        yield Step("public", True, "the route is public; tokens are ignored")
        return
    entry = yield from _token(engine, presented)
    if entry is not None:
        yield from requirements(entry.principal, route, segments, presented.lacks)


def _token(engine: PolicyEngine, presented: Presented) -> Generator[Step, None, Verified | None]:
    """Yield the steps from the request to a verified token; return it if it is valid."""
    request, verified, caller, lacks = presented
    sources = engine.snapshot.token_sources
    try:
        token = find_token(request, sources)
    except TokenError as error:
        yield Step("credential", False, f"{error.reason}: {error.detail}")
        return None
    places = [str(source) for source in sources if _has_token(request, source)]
    yield Step("credential", True, f"found in {' and '.join(places)}")
    if isinstance(caller, GivenClaims | Principal):
        try:
            entry = verified.get(hashlib.sha256(token).digest())
        except TokenError as error:
            yield Step("claims", False, f"{error.reason}: {error.detail}")
            return None
        if entry is not None and recheck(entry, engine.snapshot, engine.now) is None:
            issuer = ""
            if CallerField.ISSUER not in lacks:
                issuer = f", issued by {entry.principal.issuer}"
            yield Step("token", True, f"the claims count as verified{issuer}")
            yield Step("claims", True, describe(entry.principal, lacks))
            if isinstance(caller, GivenClaims):
                yield from _grantable(engine, caller.claims, entry)
            return entry
    return (yield from _verification(engine, token))


def _verification(engine: PolicyEngine, token: bytes) -> Generator[Step, None, Verified | None]:
    """Yield each check that a token passes, and the one that it fails."""
    passed: list[str] = []
    problem = ""
    found: Verified | NeedsKey | None = None
    try:
        found = verify(token, engine.snapshot, engine.now, passed.append)
    except TokenError as error:
        problem = f"{error.reason}: {error.detail}"
    if isinstance(found, NeedsKey):
        problem = f"{Reason.TOKEN_KEY_UNKNOWN}: the key set has no key {found.kid!r}"
        if found.first:
            problem = f"{Reason.NOT_READY}: the issuer has no key set yet"
    if passed:
        texts = _texts_of_checks(jws.read(token))
        texts["claims"] = describe(found.principal) if isinstance(found, Verified) else ""
        for name in passed:
            yield Step(name, True, one_line(texts[name]))
    if isinstance(found, Verified):
        yield from _grantable(engine, jws.read(token).claims, found)
        return found
    yield Step(CHECKS[len(passed)], False, one_line(problem))
    return None


def _grantable(engine: PolicyEngine, claims: Mapping[str, Any], entry: Verified) -> Iterator[Step]:
    """Yield the roles and permissions in the claims that their issuer may not grant."""
    issuer = engine.snapshot.issuers[entry.issuer]
    unlimited = issuer._replace(grantable=None, grantable_roles=None)
    try:
        claimed = principal_from_claims(claims, unlimited)
    except TokenError:  # without the limit, it would be too much for the identity headers
        text = f"{issuer.name} may grant only a part of the token's roles and permissions"
        yield Step("grantable", None, text)
        return
    granted = entry.principal
    roles = [role for role in claimed.roles if role not in granted.roles]
    permissions = [name for name in claimed.permissions if name not in granted.granted]
    if granted.patterns is not None:
        permissions.remove(ALL_PERMISSIONS)
        limited = ", ".join(granted.patterns.texts)
        yield Step("grantable", None, one_line(f"{issuer.name} may grant only {limited} for `*`"))
    for what, names in (("roles", roles), ("permissions", permissions)):
        if names:
            text = one_line(f"{issuer.name} may not grant the {what} {', '.join(names)}")
            yield Step("grantable", None, text)


def requirements(
    principal: Principal,
    route: Route,
    segments: tuple[str, ...],
    lacks: frozenset[CallerField] = frozenset(),
) -> Iterator[Step]:
    """Yield each requirement of a route; ``permits`` judges each separately.

    A requirement that depends on something in ``lacks`` is a remark.
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
        about = _FIELD_OF[keys[0]]
        unwaivable = keys[0] == "owner" and not route.owner_unless
        opened = about is CallerField.HELD and refusal is None
        if about in lacks and not unwaivable and not opened:
            yield Step(
                keys[0],
                None,
                f"{wanted}; not judged: the log does not contain the caller's {about}",
            )
        elif refusal is None:
            yield Step(keys[0], True, wanted)
        else:
            lacking = "" if refusal.any_of else f"; missing: {', '.join(refusal.needs)}"
            yield Step(keys[0], False, f"{refusal.reason}: {wanted}{lacking}")


def describe(principal: Principal, lacks: frozenset[CallerField] = frozenset()) -> str:
    """Return kind, names, roles and permissions of a principal in one line."""
    kind = "" if CallerField.KIND in lacks else f"{principal.kind} "
    parts = [f"{kind}{principal.subject}"]
    if principal.username:
        parts[0] += f" ({principal.username})"
    if CallerField.HELD in lacks:
        return one_line(f"{parts[0]}; {CallerField.HELD} are not in the log")
    parts.append(f"roles {', '.join(principal.roles)}" if principal.roles else "no roles")
    held = ", ".join(held_by(principal))
    parts.append(f"permissions {held}" if held else "no permissions")
    return one_line("; ".join(parts))


def _has_token(request: Request, source: TokenSource) -> bool:
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

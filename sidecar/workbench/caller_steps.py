"""Puts a caller into words: what it holds, and what a route requires of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from sidecar.core.routes.route import BOTH, Route
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.principal import (
    ALL_PERMISSIONS,
    Kind,
    Principal,
    held_by,
    permits,
    principal_from_claims,
)
from sidecar.core.tokens.verify import Verified
from sidecar.documents.findings import one_line
from sidecar.workbench.logs import CallerField

_ANY_KIND = frozenset(Kind)
_FIELD_OF = {  # what a requirement depends on
    "principals": CallerField.KIND,
    "issuers": CallerField.ISSUER,
    "permissions": CallerField.HELD,
    "any_permissions": CallerField.HELD,
    "roles": CallerField.HELD,
    "owner": CallerField.HELD,
    "claims": CallerField.CLAIMS,
}


class Step(NamedTuple):
    """One step; ``held`` says whether a check passed, and is None for a remark."""

    name: str
    held: bool | None
    text: str


def not_granted(claims: Mapping[str, Any], entry: Verified, issuer: Issuer) -> Iterator[Step]:
    """Yield the roles and permissions in the claims that their issuer may not grant."""
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
        claims=(),
    )
    owner = "" if route.owner is None else _owner(principal, route, route.owner, segments)
    for keys, wanted in (
        (("principals",), _kinds(route)),
        (("issuers",), "issued by " + " or ".join(sorted(route.issuers))),
        (("permissions",), "all of " + ", ".join(route.permissions)),
        (("any_permissions",), "any of " + ", ".join(route.any_permissions)),
        (("roles",), "any of " + ", ".join(route.roles)),
        (("claims",), _conditions(principal, route, segments)),
        (("owner", "owner_unless", "owner_claim"), owner),
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


def _conditions(principal: Principal, route: Route, segments: tuple[str, ...]) -> str:
    """Return each condition on a claim, and the claim's value."""
    said = []
    for each in route.claims:
        captured = [route.captured(index, segments) or "" for index in each.segments]
        wanted = sorted({*each.texts, *captured, *(str(flag).lower() for flag in each.flags)})
        value = principal.claim(each.claim)
        held = ", ".join(value) if isinstance(value, tuple) else str(value)
        if isinstance(value, bool):
            held = held.lower()
        given = f"the token has {held}" if value is not None else "the token does not have it"
        said.append(f"{each.name} must be {' or '.join(wanted)}, {given}")
    return one_line("; ".join(said))


def _owner(principal: Principal, route: Route, index: int, segments: tuple[str, ...]) -> str:
    """Return who the owner is, and whether the caller is."""
    segment = route.captured(index, segments)
    if not segment:
        return "the owner's segment is empty in this reading of the path, so it has no owner"
    caller = principal.subject
    if route.owner_claim:
        caller = f"{principal.claim(route.owner_claim)} by the claim {'.'.join(route.owner_claim)}"
    text = f"the owner is {segment}, the caller is {caller}"
    if principal.kind is Kind.SERVICE:
        text += ", a service, which never owns a path"
    if route.owner_unless:
        text += f"; not required with {' or '.join(route.owner_unless)}"
        if ALL_PERMISSIONS in principal.granted:
            text += ", which * does not include"
    elif ALL_PERMISSIONS in principal.granted:
        text += "; * does not make the caller the owner"
    return text


def _kinds(route: Route) -> str:
    if route.principals == BOTH:
        return "kind user, with a service's token beside it"
    return "kind " + " or ".join(sorted(route.principals))


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

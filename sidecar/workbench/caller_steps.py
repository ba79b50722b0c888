"""Puts a caller into words: what it holds, and what a route requires of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

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
from sidecar.workbench.steps import Bilingual, Step

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
    owner = Bilingual("", "")
    if route.owner is not None:
        owner = _owner(principal, route, route.owner, segments)
    for keys, wanted in (
        (("principals",), _kinds(route)),
        (("issuers",), _issuers(principal, route, lacks)),
        (("permissions",), _names("all of", "同时具备", route.permissions)),
        (("any_permissions",), _names("any of", "具备其一：", route.any_permissions)),
        (("roles",), _names("any of", "具备其一：", route.roles)),
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
                f"{wanted.english}; not judged: the log does not contain the caller's {about}",
                f"{wanted.chinese}；未判定：缺少所需的调用方信息",
            )
        elif refusal is None:
            yield Step(keys[0], True, *wanted)
        else:
            english, chinese = wanted
            if not refusal.any_of:
                english += f"; missing: {', '.join(refusal.needs)}"
                chinese += f"；缺少：{'、'.join(refusal.needs)}"
            reason = refusal.reason
            yield Step(keys[0], False, f"{reason}: {english}", f"{reason}：{chinese}")


def _names(english: str, chinese: str, names: Sequence[str]) -> Bilingual:
    return Bilingual(f"{english} {', '.join(names)}", f"{chinese} {'、'.join(names)}")


def _conditions(principal: Principal, route: Route, segments: tuple[str, ...]) -> Bilingual:
    """Return each condition on a claim, and the claim's value."""
    english, chinese = [], []
    for each in route.claims:
        captured = [route.captured(index, segments) or "" for index in each.segments]
        wanted = sorted({*each.texts, *captured, *(str(flag).lower() for flag in each.flags)})
        value = principal.claim(each.claim)
        held = ", ".join(value) if isinstance(value, tuple) else str(value)
        if isinstance(value, bool):
            held = held.lower()
        given = f"the token has {held}" if value is not None else "the token does not have it"
        english.append(f"{each.name} must be {' or '.join(wanted)}, {given}")
        given = f"令牌中为 {held}" if value is not None else "令牌中没有"
        chinese.append(f"{each.name} 必须为 {' 或 '.join(wanted)}，{given}")
    return Bilingual(one_line("; ".join(english)), one_line("；".join(chinese)))


def _owner(principal: Principal, route: Route, index: int, segments: tuple[str, ...]) -> Bilingual:
    """Return who the owner is, and whether the caller is."""
    segment = route.captured(index, segments)
    if not segment:
        return Bilingual(
            "the owner's segment is empty in this reading of the path, so it has no owner",
            "按这种方式解读路径时，所有者所在的段为空，因此没有所有者",
        )
    english = chinese = principal.subject
    if route.owner_claim:
        claim, value = ".".join(route.owner_claim), principal.claim(route.owner_claim)
        english, chinese = f"{value} by the claim {claim}", f"{value}（声明 {claim}）"
    english = f"the owner is {segment}, the caller is {english}"
    chinese = f"所有者为 {segment}，调用方为 {chinese}"
    if principal.kind is Kind.SERVICE:
        english += ", a service, which never owns a path"
        chinese += "；服务不能是所有者"
    if route.owner_unless:
        english += f"; not required with {' or '.join(route.owner_unless)}"
        chinese += f"；具备权限 {' 或 '.join(route.owner_unless)} 时无此要求"
        if ALL_PERMISSIONS in principal.granted:
            english += ", which * does not include"
            chinese += "（* 不包括这些权限）"
    elif ALL_PERMISSIONS in principal.granted:
        english += "; * does not make the caller the owner"
        chinese += "；权限 * 不能使调用方成为所有者"
    return Bilingual(english, chinese)


def _issuers(principal: Principal, route: Route, lacks: frozenset[CallerField]) -> Bilingual:
    issuers = sorted(route.issuers)
    english, chinese = f"accepts {' or '.join(issuers)}", f"接受 {' 或 '.join(issuers)} 签发的令牌"
    if CallerField.ISSUER not in lacks:
        english += f"; the token is from {principal.issuer}"
        chinese += f"；该令牌由 {principal.issuer} 签发"
    return Bilingual(english, chinese)


def _kinds(route: Route) -> Bilingual:
    if route.principals == BOTH:
        return Bilingual("kind user, with a service's token beside it", "用户，并附带服务的令牌")
    kinds = sorted(route.principals)
    chinese = " 或 ".join("用户" if kind == Kind.USER else "服务" for kind in kinds)
    return Bilingual("kind " + " or ".join(kinds), f"类型为{chinese}")


def describe(principal: Principal, lacks: frozenset[CallerField] = frozenset()) -> Bilingual:
    """Return kind, names, roles and permissions of a principal, each in one line."""
    name = principal.subject + (f" ({principal.username})" if principal.username else "")
    english, chinese = [name], [name]
    if CallerField.KIND not in lacks:
        english = [f"{principal.kind} {name}"]
        chinese = [("用户 " if principal.kind is Kind.USER else "服务 ") + name]
    if CallerField.HELD in lacks:
        english.append(f"{CallerField.HELD} are not in the log")
        chinese.append("日志中没有角色和权限")
    else:
        roles, held = principal.roles, tuple(held_by(principal))
        english.append(f"roles {', '.join(roles)}" if roles else "no roles")
        english.append(f"permissions {', '.join(held)}" if held else "no permissions")
        chinese.append(f"角色 {'、'.join(roles)}" if roles else "没有角色")
        chinese.append(f"权限 {'、'.join(held)}" if held else "没有权限")
    return Bilingual(one_line("; ".join(english)), one_line("；".join(chinese)))

"""The difference between two policies in words, with what it means: stricter, looser or other."""

from collections.abc import Collection, Iterator
from typing import Final, Literal, NamedTuple

from sidecar.console.policies.requires import Said, condition, owner, requirements
from sidecar.core.routes.route import USERS, Route
from sidecar.core.routes.table import Policy

Effect = Literal["stricter", "looser", "other"]

STRICTER: Final[Effect] = "stricter"
LOOSER: Final[Effect] = "looser"
OTHER: Final[Effect] = "other"


class Changed(NamedTuple):
    """One thing that differs."""

    effect: Effect
    said: Said


class Difference(NamedTuple):
    """A route that was added, removed or changed. A renamed route is neither of the first two."""

    kind: Literal["added", "removed", "changed"]
    name: str
    path: str
    methods: tuple[str, ...]
    changes: tuple[Changed, ...]

    @property
    def effect(self) -> Effect:
        """Return ``looser`` if anything is, else ``stricter`` if anything is."""
        effects = {change.effect for change in self.changes}
        return LOOSER if LOOSER in effects else STRICTER if STRICTER in effects else OTHER


def differences(old: Policy, new: Policy) -> list[Difference]:
    """Return what differs, looser routes first, then in the order of the new table."""
    pairs, removed, added = _pairs(old.routes, new.routes)
    found = [_added(route) for route in added] + [_removed(route) for route in removed]
    for before, after in pairs:
        changes = tuple(_changes(before, after))
        if changes:
            found.append(Difference("changed", after.name, after.path, _methods(after), changes))
    order = (LOOSER, STRICTER, OTHER)
    return sorted(found, key=lambda each: order.index(each.effect))


def _pairs(
    old: Collection[Route], new: Collection[Route]
) -> tuple[list[tuple[Route, Route]], list[Route], list[Route]]:
    """Pair routes that match the same, then those of one name, then those of one path."""
    pairs: list[tuple[Route, Route]] = []
    before, after = list(old), list(new)
    for key in (_matches, lambda route: route.name, lambda route: route.path):
        known: dict[object, list[Route]] = {}
        for route in before:
            known.setdefault(key(route), []).append(route)
        rest = []
        for route in after:
            same = known.get(key(route))
            if same:
                pairs.append((same.pop(0), route))
            else:
                rest.append(route)
        paired = {id(one) for one, _ in pairs}
        before = [route for route in before if id(route) not in paired]
        after = rest
    return pairs, before, after


def _matches(route: Route) -> object:
    return route.path, route.methods, route.hosts


def _methods(route: Route) -> tuple[str, ...]:
    return tuple(sorted(route.methods))


def _added(route: Route) -> Difference:
    """Return a new route: it opens a path, or takes requests from a wider route."""
    effect = LOOSER if route.public or route.optional else OTHER
    changes = tuple(Changed(effect, said) for said in requirements(route)) or (
        Changed(OTHER, Said("req_token")),
    )
    return Difference("added", route.name, route.path, _methods(route), changes)


def _removed(route: Route) -> Difference:
    """Its requests are denied now, or a wider route takes them."""
    changes = (Changed(OTHER, Said("diff_removed")),)
    return Difference("removed", route.name, route.path, _methods(route), changes)


def _changes(old: Route, new: Route) -> Iterator[Changed]:
    if old.path != new.path:
        yield Changed(OTHER, Said("diff_path", (old.path, new.path)))
    if old.name != new.name:
        yield Changed(OTHER, Said("diff_name", (old.name, new.name)))
    if old.target != new.target:
        yield Changed(OTHER, Said("diff_target", (old.target or "–", new.target or "–")))
    access = ("diff_token", "diff_optional", "diff_public")
    if _access(old) != _access(new):
        effect = LOOSER if _access(new) > _access(old) else STRICTER
        yield Changed(effect, Said(access[_access(new)]))
    yield from _any_of("methods", old.methods, new.methods)
    yield from _any_of("hosts", old.hosts, new.hosts)
    yield from _all_of("permissions", old.permissions, new.permissions)
    yield from _all_of("claims", _conditions(old), _conditions(new))
    yield from _any_of("any_permissions", old.any_permissions, new.any_permissions)
    yield from _any_of("roles", old.roles, new.roles)
    yield from _any_of("issuers", old.issuers, new.issuers)
    yield from _any_of("callers", old.callers, new.callers)
    yield from _principals(old, new)
    yield from _owners(old, new)


def _access(route: Route) -> int:
    return 2 if route.public else 1 if route.optional else 0


def _conditions(route: Route) -> list[str]:
    return [condition(each) for each in route.claims]


def _all_of(name: str, old: Collection[str], new: Collection[str]) -> Iterator[Changed]:
    """Compare a list of which a request needs all: more of it is stricter."""
    if added := sorted(set(new) - set(old)):
        yield Changed(STRICTER, Said(f"diff_{name}_added", tuple(added)))
    if removed := sorted(set(old) - set(new)):
        yield Changed(LOOSER, Said(f"diff_{name}_removed", tuple(removed)))


def _any_of(name: str, old: Collection[str], new: Collection[str]) -> Iterator[Changed]:
    """Compare a list of which one is enough, and which admits every one where it is empty."""
    if set(old) == set(new):
        return
    if not new:
        yield Changed(LOOSER, Said(f"diff_{name}_any", tuple(sorted(old))))
    elif not old:
        yield Changed(STRICTER, Said(f"diff_{name}_only", tuple(sorted(new))))
    else:
        if added := sorted(set(new) - set(old)):
            yield Changed(LOOSER, Said(f"diff_{name}_added", tuple(added)))
        if removed := sorted(set(old) - set(new)):
            yield Changed(STRICTER, Said(f"diff_{name}_removed", tuple(removed)))


def _principals(old: Route, new: Route) -> Iterator[Changed]:
    if old.principals != new.principals:
        kinds = " | ".join(sorted(old.principals)), " | ".join(sorted(new.principals))
        wider = new.principals > old.principals or ("both" in old.principals)
        effect = LOOSER if wider else STRICTER if new.principals < old.principals else OTHER
        if "both" in new.principals and old.principals == USERS:
            effect = STRICTER
        yield Changed(effect, Said("diff_principals", kinds))


def _owners(old: Route, new: Route) -> Iterator[Changed]:
    before = "" if old.owner is None else owner(old)
    after = "" if new.owner is None else owner(new)
    if before and not after:
        yield Changed(LOOSER, Said("diff_owner_removed", (before,)))
    elif after and not before:
        yield Changed(STRICTER, Said("diff_owner_added", (after,)))
    elif before != after:
        yield Changed(OTHER, Said("diff_owner", (before, after)))
    if after and before:
        if added := sorted(set(new.owner_unless) - set(old.owner_unless)):
            yield Changed(LOOSER, Said("diff_owner_unless_added", tuple(added)))
        if removed := sorted(set(old.owner_unless) - set(new.owner_unless)):
            yield Changed(STRICTER, Said("diff_owner_unless_removed", tuple(removed)))

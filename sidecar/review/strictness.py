"""Compares what two routes require."""

from sidecar.core.routes.route import BOTH, Route


def is_as_strict(route: Route, other: Route) -> bool:
    """Return whether ``other`` allows every principal that ``route`` allows."""
    if other.public or route.public:
        return other.public or other.optional
    if route.optional and not other.optional:
        return False
    held = {*route.permissions}
    owner = other.owner is None or not held.isdisjoint(other.owner_unless)
    if route.owner == other.owner and route.owner_claim == other.owner_claim:
        owner = owner or {*route.owner_unless} <= {*other.owner_unless}
    return (
        owner
        and {*other.claims} <= {*route.claims}
        and (not other.callers or (bool(route.callers) and route.callers <= other.callers))
        and _as_strict_kinds(route.principals, other.principals)
        and (not other.issuers or (bool(route.issuers) and route.issuers <= other.issuers))
        and {*other.permissions} <= held
        and _narrows(route.any_permissions, other.any_permissions, held)
        and _narrows(route.roles, other.roles, set())
    )


def _as_strict_kinds(kinds: frozenset[str], others: frozenset[str]) -> bool:
    return kinds <= others or (kinds == BOTH and "user" in others)


def _narrows(names: tuple[str, ...], others: tuple[str, ...], held: set[str]) -> bool:
    """Return whether ``held`` and any one of ``names`` always include one of ``others``."""
    return not others or not held.isdisjoint(others) or (bool(names) and {*names} <= {*others})

"""Which of two routes asks for more."""

from sidecar.core.routes.route import Route


def is_as_strict(route: Route, other: Route) -> bool:
    """Say whether whoever ``route`` lets in, ``other`` lets in too."""
    if other.public or route.public:
        return other.public
    held = {*route.permissions}
    owner = other.owner is None or not held.isdisjoint(other.owner_unless)
    if route.owner == other.owner:
        owner = owner or {*route.owner_unless} <= {*other.owner_unless}
    return (
        owner
        and route.principals <= other.principals
        and (not other.issuers or (bool(route.issuers) and route.issuers <= other.issuers))
        and {*other.permissions} <= held
        and _narrows(route.any_permissions, other.any_permissions, held)
        and _narrows(route.roles, other.roles, set())
    )


def _narrows(names: tuple[str, ...], others: tuple[str, ...], held: set[str]) -> bool:
    """Say whether one of ``others`` is held by whoever holds ``held`` and one of ``names``."""
    return not others or not held.isdisjoint(others) or (bool(names) and {*names} <= {*others})

"""Which of a caller's roles and permissions a route needs to allow the caller's request."""

from typing import NamedTuple

from sidecar.core.routes.route import Route


class Held(NamedTuple):
    """The roles and permissions of a caller, as the log has them."""

    roles: tuple[str, ...]
    permissions: tuple[str, ...]


def needed(held: Held, route: Route) -> tuple[set[str], set[str]]:
    """Return the roles and the permissions that an allowed request on the route made use of.

    Of several that suffice (``any_permissions``, ``roles``) each counts: which one the caller could
    do without is not known. A wildcard counts where the caller does not hold the name itself.
    ``owner_unless`` counts although the caller may be the owner.
    """
    permissions: set[str] = set()
    own = frozenset(held.permissions)
    for name in (*route.permissions, *route.owner_unless):
        if name in own:
            permissions.add(name)
        elif name in route.permissions:
            permissions |= _wildcards(own, name)
    choices = own.intersection(route.any_permissions)
    permissions |= choices
    if route.any_permissions and not choices:
        for name in route.any_permissions:
            permissions |= _wildcards(own, name)
    return set(route.roles).intersection(held.roles), permissions


def _wildcards(own: frozenset[str], name: str) -> set[str]:
    return {each for each in own if each.endswith("*") and name.startswith(each[:-1])}

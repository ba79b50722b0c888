"""A principal whose permissions were looked up."""

from collections.abc import Iterable

from sidecar.core.tokens.grantable import patterns_of
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.lookups import Granted
from sidecar.core.tokens.name_lists import shared
from sidecar.core.tokens.principal import ALL_PERMISSIONS, Principal, limited


def regranted(principal: Principal, looked_up: Granted, issuer: Issuer) -> Principal:
    """Return the principal with the permissions of a look-up, and its roles where it has them.

    Both are limited as the token's would be, and roles grant what they grant to a token's. ``*``
    from a look-up grants what the issuer can grant at most, and nothing where no limit is set.
    Raises TokenError(token_claims) if they do not fit into the identity headers.
    """
    roles = principal.roles
    if looked_up.roles is not None:
        held: Iterable[str] = looked_up.roles
        if issuer.grantable_roles is not None:
            held = filter(patterns_of(issuer.grantable_roles).hold, held)
        roles, _ = shared([held])
    own = looked_up.permissions
    if issuer.grantable is None:
        own = tuple(name for name in own if name != ALL_PERMISSIONS)
    parts: list[Iterable[str]] = [own, *(issuer.role_permissions.get(role, ()) for role in roles)]
    patterns = None
    if issuer.grantable is not None:
        parts, patterns = limited(parts, patterns_of(issuer.grantable))
    permissions, granted = shared(parts)
    return principal._replace(
        roles=roles, permissions=permissions, granted=granted, patterns=patterns
    )

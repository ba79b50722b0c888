"""What a route matches and requires, as pairs of a code and its values; pages have the words."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.core.routes.conditions import Condition
from sidecar.core.routes.route import Route


class Said(NamedTuple):
    """One thing to say about a route: a key of ``pages.words``, and its values."""

    code: str
    values: tuple[str, ...] = ()


def requirements(route: Route) -> Iterator[Said]:
    """Yield what a caller needs, in the order in which the sidecar checks it."""
    if route.public:
        yield Said("req_public")
        return
    if route.optional:
        yield Said("req_optional")
        return
    if route.callers:
        yield Said("req_callers", tuple(sorted(route.callers)))
    if route.principals != {"user"}:
        yield Said("req_principals", tuple(sorted(route.principals)))
    for code, values in (
        ("req_issuers", sorted(route.issuers)),
        ("req_permissions", route.permissions),
        ("req_any_permissions", route.any_permissions),
        ("req_roles", route.roles),
        ("req_claims", [condition(each) for each in route.claims]),
    ):
        if values:
            yield Said(code, tuple(values))
    if route.owner is not None:
        yield Said("req_owner", (owner(route),))
    if route.owner_unless:
        yield Said("req_owner_unless", route.owner_unless)


def condition(each: Condition) -> str:
    """Return a condition on a claim in short: ``tenant = a | b``."""
    values = [*sorted(each.texts), *(str(flag).lower() for flag in sorted(each.flags))]
    values += [f"{{{index}}}" for index in each.segments]
    return f"{each.name} = {' | '.join(values)}"


def owner(route: Route) -> str:
    """Return the segment of the path that names a route's owner."""
    segments = route.path.removeprefix("/").split("/")
    index = route.owner or 0
    name = segments[index] if index < len(segments) else ""
    return f"{name} = {'.'.join(route.owner_claim)}" if route.owner_claim else name

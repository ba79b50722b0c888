"""Advice from the counts over a log, the strongest first."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from sidecar.core.routes.route import Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.principal import ALL_PERMISSIONS
from sidecar.workbench.advise.usage import Denials, RouteUse, Usage
from sidecar.workbench.formats import counted

ENOUGH: Final = 100
"""Requests from which a share, or a pattern, is more than chance."""

HIGH: Final = 0.2
"""The share of denied requests that is worth a look."""

CAUSES: Final = 3  # of denials that a text names


class Kind(StrEnum):
    """What an advice is about."""

    UNUSED_ROUTE = "unused-route"
    NEVER_NEEDED = "never-needed"
    NARROWER_ROUTE = "narrower-route"
    COULD_NEED_TOKEN = "could-need-token"  # noqa: S105 -- a kind of advice
    DENIALS = "denials"
    ALWAYS_TOGETHER = "always-together"

    @property
    def is_strong(self) -> bool:
        """Whether following the advice takes something away, so that it needs a long log."""
        return self not in (Kind.DENIALS, Kind.ALWAYS_TOGETHER)


class Advice(NamedTuple):
    """One advice; ``subject`` is a route's name, or a role or permissions.

    ``items`` are narrower paths, permissions that come together, or what was missing. ``requests``
    are those of the log that it is about.
    """

    kind: Kind
    subject: str
    text: str
    requests: int = 0
    items: tuple[str, ...] = ()


def advise(usage: Usage, snapshot: Snapshot | None) -> Iterator[Advice]:
    """Yield all advice, also such as needs a longer log."""
    if snapshot is not None:
        routes = snapshot.policy.routes
        for route, use in zip(routes, usage.routes, strict=True):
            yield from _of_route(route, use)
        if not usage.too_many_held:
            yield from _never_needed(usage, snapshot)
    for name, denials in usage.denials.items():
        yield from _denials(name, denials)
    if not usage.too_many_held:
        yield from _together(usage, with_table=snapshot is not None)


def _of_route(route: Route, use: RouteUse) -> Iterator[Advice]:
    if not use.requests:
        yield Advice(Kind.UNUSED_ROUTE, route.name, f"no request used {route.path}")
        return
    if use.places is not None and use.allowed >= ENOUGH:
        paths = tuple(sorted(use.places.paths))
        text = f"{route.path} matched only {', '.join(paths)}"
        yield Advice(Kind.NARROWER_ROUTE, route.name, text, use.allowed, paths)
    if route.public and ENOUGH <= use.known_credential == use.with_credential:
        text = "the route is public, and every request carried a credential"
        yield Advice(Kind.COULD_NEED_TOKEN, route.name, text, use.with_credential)


def _never_needed(usage: Usage, snapshot: Snapshot) -> Iterator[Advice]:
    roles: Counter[str] = Counter()
    permissions: Counter[str] = Counter()
    for held, requests in usage.held.items():
        for names, counts in ((held.roles, roles), (held.permissions, permissions)):
            for name in names:
                counts[name] += requests
    granting = {
        role
        for issuer in snapshot.issuers
        for role, granted in issuer.role_permissions.items()
        if not usage.needed_permissions.isdisjoint(granted)
    }
    requiring = _requiring(snapshot.policy.routes)
    for word, counts, needed in (
        ("role", roles, usage.needed_roles | granting),
        ("permission", permissions, usage.needed_permissions),
    ):
        for name in sorted(counts.keys() - needed):
            routes = requiring[word, name]
            why = f"only {', '.join(routes)} names it" if routes else "no route names it"
            text = f"the {word} was held, and no request needed it; {why}"
            yield Advice(Kind.NEVER_NEEDED, f"{word} {name}", text, counts[name])


def _requiring(routes: tuple[Route, ...]) -> defaultdict[tuple[str, str], list[str]]:
    """Return the names of the routes that name a role or a permission."""
    requiring: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for route in routes:
        for role in route.roles:
            requiring["role", role].append(route.name)
        for name in {*route.permissions, *route.any_permissions, *route.owner_unless}:
            requiring["permission", name].append(route.name)
    return requiring


def _denials(name: str, denials: Denials) -> Iterator[Advice]:
    share = denials.denied / denials.requests
    if denials.requests < ENOUGH or share < HIGH:
        return
    causes = tuple(
        f"{reason} ({', '.join(needs)}): {counted(count, 'request')}"
        if needs
        else f"{reason}: {counted(count, 'request')}"
        for (reason, needs), count in denials.missing.most_common(CAUSES)
    )
    text = f"{100 * share:.0f} % of {counted(denials.requests, 'request')} were denied"
    yield Advice(Kind.DENIALS, name, text, denials.denied, causes)


def _together(usage: Usage, *, with_table: bool) -> Iterator[Advice]:
    """Yield permissions that each caller has either all of or none of.

    Where every caller has the same list, that says nothing.
    """
    if len(usage.held) < 2:
        return
    holders: defaultdict[str, set[int]] = defaultdict(set)
    requests: Counter[str] = Counter()
    for number, (held, count) in enumerate(usage.held.items()):
        for name in held.permissions:
            if name == ALL_PERMISSIONS or (with_table and name not in usage.needed_permissions):
                continue
            holders[name].add(number)
            requests[name] += count
    groups: defaultdict[frozenset[int], list[str]] = defaultdict(list)
    for name, numbers in holders.items():
        if len(numbers) < len(usage.held):
            groups[frozenset(numbers)].append(name)
    for names in sorted(map(sorted, groups.values())):
        if len(names) > 1 and requests[names[0]] >= ENOUGH:
            text = (
                "every caller who has one of them has them all: one permission could replace them"
            )
            yield Advice(
                Kind.ALWAYS_TOGETHER, ", ".join(names), text, requests[names[0]], tuple(names)
            )

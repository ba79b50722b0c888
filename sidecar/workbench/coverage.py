"""Measures which routes, and which requirements of each, a set of cases covers.

A case covers a route if the route allows its request, and a requirement if the requirement is the
reason of the denial.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sidecar.core.decision import Allow, Deny
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import Route, hosts_of
from sidecar.core.routes.table import Policy
from sidecar.workbench.runner import Result

ALLOWED = "allowed"
TOKEN = "token"  # noqa: S105 -- the name of a requirement
WAIVED = "owner_unless"

_REFUSED_BY = {
    Reason.METHOD_NOT_ALLOWED: "methods",
    Reason.WRONG_PRINCIPAL_KIND: "principals",
    Reason.WRONG_ISSUER: "issuers",
    Reason.ROLE_DENIED: "roles",
    Reason.NOT_OWNER: "owner",
    Reason.CLAIM_DENIED: "claims",
    Reason.WRONG_CALLER: "callers",
}


class RouteCoverage(NamedTuple):
    """What the cases cover of one route, and what is missing."""

    route: Route
    shown: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def percent(self) -> float:
        """The covered share of what cases can cover of it."""
        return 100.0 * len(self.shown) / (len(self.shown) + len(self.missing))


class PolicyCoverage(NamedTuple):
    """What the cases cover of one policy."""

    policy: Path
    routes: tuple[RouteCoverage, ...]

    @property
    def percent(self) -> float:
        """The covered share of everything that cases can cover."""
        shown = sum(len(each.shown) for each in self.routes)
        return 100.0 * shown / max(1, shown + sum(len(each.missing) for each in self.routes))


def measure(results: Iterable[Result]) -> list[PolicyCoverage]:
    """Return the coverage of each policy in the results."""
    policies: dict[tuple[Path, str], Policy] = {}
    seen: dict[tuple[Path, str], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for result in results:
        policy = result.case.config.policy
        key = (result.case.policy_path, policy.digest)
        policies[key] = policy
        for index, what in _shown(policy, result):
            seen[key][index].add(what)
    return [
        PolicyCoverage(
            path,
            tuple(_of_route(route, seen[path, digest][route.index]) for route in policy.routes),
        )
        for (path, digest), policy in policies.items()
    ]


def changed_since(routes: Iterable[RouteCoverage], old: Policy) -> list[RouteCoverage]:
    """Return the routes that match or require something else than any route of an old policy."""
    before = set(map(_rule, old.routes))
    return [each for each in routes if _rule(each.route) not in before]


def _rule(route: Route) -> Route:
    """Return a route without its place, name and target, which no decision depends on."""
    return replace(route, index=0, name="", target="")


def sides(route: Route) -> Iterator[str]:
    """Yield what cases can cover of a route."""
    yield ALLOWED
    if route.methods:
        yield "methods"
    if route.public:
        return
    if not route.optional:
        yield TOKEN
    if len(route.principals) == 1 and route.principals != {"user"}:
        yield "principals"
    for name in ("issuers", "permissions", "any_permissions", "roles", "claims", "callers"):
        if getattr(route, name):
            yield name
    if route.owner is not None:
        yield "owner"
    if route.owner_unless:
        yield WAIVED


def _of_route(route: Route, seen: set[str]) -> RouteCoverage:
    every = tuple(sides(route))
    shown = tuple(side for side in every if side in seen)
    return RouteCoverage(route, shown, tuple(side for side in every if side not in seen))


def _shown(policy: Policy, result: Result) -> Iterator[tuple[int, str]]:
    decision = result.judged.decision
    route = decision.route
    if route is None or result.differences or decision.reason.is_preflight:
        return  # a preflight covers nothing: no requirement of its route is judged
    if isinstance(decision, Allow):
        yield route.index, ALLOWED
        if decision.verified and not decision.verified.principal.granted.isdisjoint(
            route.owner_unless
        ):
            yield route.index, WAIVED
    elif decision.reason is Reason.METHOD_NOT_ALLOWED:
        # All routes with this path together do not accept the method, not only the first.
        for other in policy.routes:
            if other.path == route.path and hosts_of(other) == hosts_of(route):
                yield other.index, "methods"
    else:
        yield route.index, _refused_by(decision)


def _refused_by(decision: Deny) -> str:
    if decision.reason is Reason.PERMISSION_DENIED:
        return "any_permissions" if decision.any_of else "permissions"
    return _REFUSED_BY.get(decision.reason, TOKEN)

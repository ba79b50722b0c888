"""Findings about the targets of routes where `gateway` is configured."""

from collections.abc import Iterator

from sidecar.config.policy_file import ROUTES
from sidecar.core.placement.directory import matches
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import Problem, quoted, warning
from sidecar.documents.untyped import at, mapping


def of_policy(policy: Policy, document: object) -> Iterator[Problem]:
    """Yield which routes lead nowhere, or not where they seem to; ``document`` is sidecar.yaml."""
    if at(document, "gateway") is None:
        return
    fixed = sorted(map(str, mapping(at(document, "gateway", "services"))))
    for route in policy.routes:
        if not route.target:
            yield warning(
                (*ROUTES, route.index),
                "no-target",
                "the gateway denies every request of this route: `no_upstream`",
                "name the service that serves it in `target`",
            )
        covered = [name for name in fixed if route.target.endswith("*")]
        covered = [name for name in covered if matches(route.target, name)]
        if covered:
            yield warning(
                (*ROUTES, route.index, "target"),
                "target-beside-service",
                f"the prefix covers {quoted(covered[0])} of `gateway.services`, which it never "
                "reaches: a prefix chooses only among the registry's instances",
                f"another prefix, or a route with `target: {covered[0]}`",
            )


def of_settings(policy: Policy, document: object) -> Iterator[Problem]:
    """Yield which of ``gateway.services`` no route names."""
    targets = {route.target for route in policy.routes}
    for name in mapping(at(document, "gateway", "services")):
        if name not in targets:
            yield warning(
                ("gateway", "services", str(name)),
                "unused-service",
                f"no route has the target {quoted(str(name))}, so no request reaches the service",
                "compare the spelling with the routes, or remove it",
            )

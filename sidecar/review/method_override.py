"""Paths where POST requires less than another method, which a form may select by ``_method``.

The sidecar applies ``_method`` in a query. In a body it cannot see it.
"""

from collections.abc import Iterator

from sidecar.config.policy_file import ROUTES
from sidecar.core.routes.patterns import parse_pattern
from sidecar.core.routes.route import Route, example_hosts, hosts_of
from sidecar.core.routes.segments import ANYTHING
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import Problem, quoted, warning
from sidecar.review.strictness import is_as_strict

READS_BODY = frozenset({"generic", "rails", "laravel", "symfony", "express"})
"""The values of ``policy.upstream`` whose servers read ``_method`` in a body, some by an option."""

OVERRIDDEN = ("PUT", "PATCH", "DELETE")


def problems(policy: Policy, upstream: str = "generic") -> Iterator[Problem]:
    """Yield the routes whose requirements a POST to the same path bypasses, each once."""
    if upstream not in READS_BODY:
        return
    for route in policy.routes:
        # A route without methods takes every method of its path, POST included.
        methods = [method for method in OVERRIDDEN if method in route.methods]
        post = _weaker_post(policy, route, methods[0]) if methods else None
        if post is not None:
            yield _around(route, methods[0], post)


def _weaker_post(policy: Policy, route: Route, method: str) -> Route | None:
    """Return the route that POST gets instead of this one if it requires less, else None."""
    pattern = parse_pattern(route.path)
    path = pattern.example() + ((ANYTHING,) if pattern.tail else ())
    for host in example_hosts(hosts_of(route)):
        post = policy.match(host, "POST", path)
        if not isinstance(post, Route) or policy.match(host, method, path) is not route:
            continue
        if not is_as_strict(post, route):
            return post
    return None


def _around(route: Route, method: str, post: Route) -> Problem:
    return warning(
        (*ROUTES, route.index, "methods"),
        "method-override",
        f"POST {quoted(post.path)} requires less than {method}: "
        f"a form with _method={method} in its body is checked as POST",
        "require the same for POST, disable the override in the upstream, or set "
        "`policy.upstream` to software without it",
        (*ROUTES, post.index),
    )

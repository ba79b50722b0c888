"""Paths where POST needs less than another method: a form may choose that one by ``_method``.

The sidecar sees ``_method`` in a query, and judges by it. In a body it cannot.
"""

from collections.abc import Iterator

from sidecar.config.policy_file import ROUTES
from sidecar.core.routes.patterns import parse_pattern
from sidecar.core.routes.route import Route, hosts_of
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import Problem, Severity, quoted
from sidecar.review.strictness import is_as_strict

READS_BODY = frozenset({"generic", "rails", "laravel", "symfony", "express"})
"""The values of ``policy.upstream`` whose servers read ``_method`` in a body, some by an option."""

OVERRIDDEN = ("PUT", "PATCH", "DELETE")

_ANY = "\x00"  # stands for any segment that no literal is: no path holds a NUL
_ANY_HOST = "host.invalid"  # and for any host that no route names (RFC 2606)


def problems(policy: Policy, upstream: str = "generic") -> Iterator[Problem]:
    """Yield the routes whose requirements a POST to the same path goes around, each once."""
    if upstream not in READS_BODY:
        return
    for route in policy.routes:
        # A route that names no methods has the path to itself, POST included.
        methods = [method for method in OVERRIDDEN if method in route.methods]
        post = _weaker_post(policy, route, methods[0]) if methods else None
        if post is not None:
            yield _around(route, methods[0], post)


def _weaker_post(policy: Policy, route: Route, method: str) -> Route | None:
    """Return the route that POST gets in the place of this one, where it needs less, else None."""
    pattern = parse_pattern(route.path)
    path = tuple(_ANY if segment is None else segment for segment in pattern.segments)
    path += (_ANY,) if pattern.tail else ()
    for host in sorted(hosts_of(route)) or [_ANY_HOST]:
        post = policy.match(host, "POST", path)
        if not isinstance(post, Route) or policy.match(host, method, path) is not route:
            continue
        if not is_as_strict(post, route):
            return post
    return None


def _around(route: Route, method: str, post: Route) -> Problem:
    return Problem(
        (*ROUTES, route.index, "methods"),
        "method-override",
        f"POST {quoted(post.path)} needs less than {method}: "
        f"a form with _method={method} in its body passes as POST",
        "ask the same of POST, switch the override off in the upstream, or set `policy.upstream` "
        "to one that has none",
        Severity.WARNING,
        (*ROUTES, post.index),
    )

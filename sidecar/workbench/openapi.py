"""Creates a route table from an OpenAPI document, and compares a table with a document."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sidecar.core.routes.patterns import parse_pattern
from sidecar.core.routes.route import Route, example_hosts, hosts_of, methods_of
from sidecar.core.routes.segments import Segment, covers
from sidecar.core.routes.table import Policy
from sidecar.documents.document import Document
from sidecar.documents.findings import ConfigError, Finding, Problem, Severity, quoted
from sidecar.documents.located import in_order, located
from sidecar.documents.untyped import mapping
from sidecar.workbench import drafts
from sidecar.workbench.draft_paths import fitted
from sidecar.workbench.drafts import Draft
from sidecar.workbench.foreign_files import load_foreign
from sidecar.workbench.openapi_paths import operations

_ANY = "any-value"  # stands for a parameter of a path
_PARAMETER = re.compile(r"\{[^{}]*\}")


class Spec(NamedTuple):
    """The operations of an OpenAPI document; ``document`` has their line numbers.

    ``remarks`` are about the document as a whole.
    """

    path: Path
    document: Document
    endpoints: tuple[Draft, ...]
    remarks: tuple[Problem, ...]


def read_spec(path: Path) -> Spec:
    """Read an OpenAPI 3.0 to 3.2 or Swagger 2.0 document. Raises ConfigError if it is neither."""
    document = load_foreign(path)
    value = mapping(document.value)
    # YAML reads `openapi: 3.1` as a number.
    version = str(value.get("openapi", "")) or str(value.get("swagger", "")) * ("swagger" in value)
    if not (version.startswith("3") if "openapi" in value else version.startswith("2")):
        message = "not an OpenAPI 3 document, nor Swagger 2.0"
        problem = Problem(("openapi",), "openapi", message, "`openapi` must be 3.0 to 3.2")
        raise ConfigError(in_order(located(path, document, [problem])))
    found, remarks = operations(value)
    return Spec(path, document, tuple(found), tuple(remarks))


def routes_yaml(spec: Spec) -> tuple[str, list[Finding]]:
    """Return a route table, and what it does not say as the document does.

    Raises BadValueError if it would be too large.
    """
    heading = [f"From {spec.path.name}. Operations without `security` need a token."]
    text, remarks = drafts.table(heading, spec.endpoints, spec.remarks)
    return text, in_order(located(spec.path, spec.document, remarks))


def drift(spec: Spec, policy: Policy, lines: tuple[int, ...], policy_file: Path) -> list[Finding]:
    """Return the endpoints that no route serves, and the routes that serve no endpoint."""
    named = frozenset().union(*map(hosts_of, policy.routes))
    hosts = {*example_hosts(named), *example_hosts(frozenset())}
    problems = []
    serving: set[int] = set()
    for endpoint in spec.endpoints:
        segments = _example(endpoint)
        if segments is None:
            message = f"{endpoint} cannot be compared with routes"
            code = "endpoint-not-compared"
            problems.append(Problem(endpoint.place, code, message, severity=Severity.WARNING))
            continue
        found = [
            policy.match(host, method, segments)
            for host in sorted(hosts)
            for method in endpoint.methods or drafts.METHODS
        ]
        routes = [route for route in found if isinstance(route, Route)]
        serving.update(route.index for route in routes)
        problems += [
            _swallowed(route, endpoint)
            for route in dict.fromkeys(routes)
            if _swallows(route, endpoint)
        ]
        if not routes:
            what = f"{', '.join(endpoint.methods) or 'any method of'} {quoted(endpoint.path)}"
            message = f"no route matches {what}"
            problems.append(
                Problem(
                    endpoint.place, "endpoint-without-route", message, severity=Severity.WARNING
                )
            )
    findings = located(spec.path, spec.document, problems)
    fits = [(each, fit) for each in spec.endpoints if (fit := fitted(each.path)) is not None]
    patterns = [(endpoint, parse_pattern(fit.path).segments) for endpoint, fit in fits]
    for route in policy.routes:
        if route.index not in serving and not _is_part_of(route, patterns):
            message = f"{spec.path.name} has no endpoint for the route {quoted(route.name)}"
            place = (str(policy_file), lines[route.index], 1)
            findings.append(Finding("route-without-endpoint", Severity.WARNING, *place, message))
    return findings


def _swallows(route: Route, endpoint: Draft) -> bool:
    """Return whether a `{name}` of the route takes a segment with a verb, such as `{id}:purge`."""
    theirs = endpoint.path.strip("/").split("/")
    pairs = zip(parse_pattern(route.path).segments, theirs, strict=False)
    return any(
        our is None and not _PARAMETER.fullmatch(their) and ("{" in their or ":" in their)
        for our, their in pairs
    )


def _swallowed(route: Route, endpoint: Draft) -> Problem:
    return Problem(
        endpoint.place,
        "swallowed-endpoint",
        f"{', '.join(endpoint.methods)} {quoted(endpoint.path)} gets the route "
        f"{quoted(route.path)}, whose wildcard takes the literal text too",
        f"write a route for {quoted(endpoint.path)}: it is more specific",
        Severity.WARNING,
    )


def _is_part_of(route: Route, endpoints: Sequence[tuple[Draft, Sequence[Segment]]]) -> bool:
    """Return whether a route is a narrower case of an endpoint: /users/me of /users/{id}."""
    ours = parse_pattern(route.path)
    methods = methods_of(route)
    for endpoint, theirs in endpoints:
        if not ours.tail and len(ours.segments) == len(theirs):
            pairs = zip(ours.segments, theirs, strict=True)
            fits = all(covers(their, our) for our, their in pairs)
            if fits and (not methods or not endpoint.methods or methods & {*endpoint.methods}):
                return True
    return False


def _example(endpoint: Draft) -> tuple[str, ...] | None:
    """Return segments that an endpoint's path matches, None if no request can have them."""
    if endpoint.lost:
        return None
    path = _PARAMETER.sub(_ANY, endpoint.path.partition("?")[0].partition("#")[0])
    try:
        return parse_pattern(path).example(_ANY)
    except ValueError:
        fit = fitted(endpoint.path)
        return parse_pattern(fit.path).example(_ANY) if fit else None

"""Creates a route table from an OpenAPI 3 document, and compares a table with a document."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.core.routes.route import Route, hosts_of, methods_of
from sidecar.core.routes.table import Policy
from sidecar.documents.document import Document
from sidecar.documents.findings import (
    ConfigError,
    Finding,
    Place,
    Problem,
    Severity,
    quoted,
)
from sidecar.documents.located import in_order, located
from sidecar.documents.untyped import mapping, sequence, texts
from sidecar.workbench.foreign_files import load_foreign

# The fixed fields of a Path Item that are operations (OpenAPI 3.1, section 4.8.9).
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

_ANY = "any-value"  # stands for a parameter of a path
_ANY_HOST = "host.invalid"  # RFC 2606


class Endpoint(NamedTuple):
    """One operation, at ``place`` in its document.

    All ``scopes`` are required, or one of ``alternatives``. ``public``: no token is required.
    """

    method: str
    path: str
    place: Place
    public: bool
    scopes: tuple[str, ...]
    alternatives: tuple[str, ...]


class Spec(NamedTuple):
    """The endpoints of an OpenAPI document; ``document`` has their line numbers."""

    path: Path
    document: Document
    endpoints: tuple[Endpoint, ...]


def read_spec(path: Path) -> Spec:
    """Read an OpenAPI 3 document, YAML or JSON. Raises ConfigError with every error in it."""
    document = load_foreign(path)
    problems: list[Problem] = []
    value = mapping(document.value)
    version = value.get("openapi")
    if document.complete and not (isinstance(version, str) and version.startswith("3.")):
        message = "not an OpenAPI 3 document"
        problems.append(Problem(("openapi",), "openapi", message, "`openapi` must be 3.x"))
    base = _base_path(value)
    endpoints: list[Endpoint] = []
    for template, item in mapping(value.get("paths")).items():
        try:
            parse_pattern(base + template)
        except ValueError as error:
            message = f"{quoted(base + template)} cannot be the path of a route: {error}"
            problems.append(Problem(("paths", template), "openapi", message))
            continue
        for method in METHODS:
            operation = mapping(item).get(method)
            if operation is not None and not (method == "head" and "get" in mapping(item)):
                security = mapping(operation).get("security", value.get("security"))
                place = ("paths", template, method)
                asked = _security(security)
                endpoints.append(Endpoint(method.upper(), base + template, place, *asked))
    if findings := located(path, document, problems):
        raise ConfigError(in_order(findings))
    return Spec(path, document, tuple(endpoints))


def routes_yaml(spec: Spec) -> str:
    """Return a route table with one route per path and requirement."""
    lines = [
        f"# From {spec.path.name}. Operations without `security` need a token.",
        "api_gateway:",
    ]
    lines.append("  routes:" if spec.endpoints else "  routes: []")
    groups: dict[tuple[object, ...], list[Endpoint]] = {}
    for endpoint in spec.endpoints:
        asked = (endpoint.path, endpoint.public, endpoint.scopes, endpoint.alternatives)
        groups.setdefault(asked, []).append(endpoint)
    for group in groups.values():
        first = group[0]
        methods = ", ".join(endpoint.method for endpoint in group)
        lines += [f"    - path: {_text(first.path)}", f"      methods: [{methods}]"]
        if first.public:
            lines.append("      auth_required: false")
        if first.scopes:
            lines.append(f"      permissions: [{', '.join(map(_text, first.scopes))}]")
        if first.alternatives:
            lines.append(f"      any_permissions: [{', '.join(map(_text, first.alternatives))}]")
    return "\n".join(lines) + "\n"


def drift(spec: Spec, policy: Policy, lines: tuple[int, ...], policy_file: Path) -> list[Finding]:
    """Return the endpoints that no route serves, and the routes that serve no endpoint."""
    hosts = {host for route in policy.routes for host in hosts_of(route)} | {_ANY_HOST}
    problems = []
    serving: set[int] = set()
    for endpoint in spec.endpoints:
        segments = _example(parse_pattern(endpoint.path))
        found = [policy.match(host, endpoint.method, segments) for host in sorted(hosts)]
        routes = [route for route in found if isinstance(route, Route)]
        serving.update(route.index for route in routes)
        if not routes:
            message = f"no route matches {endpoint.method} {quoted(endpoint.path)}"
            problems.append(
                Problem(
                    endpoint.place, "endpoint-without-route", message, severity=Severity.WARNING
                )
            )
    findings = located(spec.path, spec.document, problems)
    for route in policy.routes:
        if route.index not in serving and not _is_part_of(route, spec.endpoints):
            message = f"{spec.path.name} has no endpoint for the route {quoted(route.name)}"
            place = (str(policy_file), lines[route.index], 1)
            findings.append(Finding("route-without-endpoint", Severity.WARNING, *place, message))
    return findings


def _is_part_of(route: Route, endpoints: Sequence[Endpoint]) -> bool:
    """Return whether a route is a narrower case of an endpoint: /users/me of /users/{id}."""
    ours = parse_pattern(route.path)
    methods = methods_of(route)
    for endpoint in endpoints:
        theirs = parse_pattern(endpoint.path).segments
        if not ours.tail and len(ours.segments) == len(theirs):
            pairs = zip(ours.segments, theirs, strict=True)
            fits = all(their is None or our == their for our, their in pairs)
            if fits and (not methods or endpoint.method in methods):
                return True
    return False


def _example(pattern: Pattern) -> tuple[str, ...]:
    return tuple(_ANY if segment is None else segment for segment in pattern.segments)


def _base_path(value: Mapping[str, object]) -> str:
    """Return the path in the first server's URL; empty if the URL has variables."""
    servers = sequence(value.get("servers"))
    url = mapping(servers[0]).get("url") if servers else None
    if not isinstance(url, str) or "{" in url:
        return ""
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError:
        return ""


def _security(value: object) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """Return whether an operation is public, the scopes it needs, and those of which one is enough.

    Without `security`, or if anonymous use is one of several choices, a token is required: an
    imported table must not open anything by default.
    """
    if value == []:
        return True, (), ()
    choices = [mapping(choice) for choice in sequence(value) if choice]
    scopes = [
        tuple(scope for each in choice.values() for scope in texts(each)) for choice in choices
    ]
    if not scopes or () in scopes:
        return False, (), ()
    if len(scopes) == 1:
        return False, scopes[0], ()
    if all(len(each) == 1 for each in scopes):
        return False, (), tuple(dict.fromkeys(each[0] for each in scopes))
    # A route cannot express alternatives of several scopes each, so it requires all of them.
    return False, tuple(dict.fromkeys(scope for each in scopes for scope in each)), ()


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # which is YAML too

"""Warnings about a policy that compiles; `serve` logs them at each start."""

from collections import defaultdict
from collections.abc import Iterator

from sidecar.config.load import ConfigFiles
from sidecar.config.policy_file import ROUTES
from sidecar.core.routes.patterns import parse_pattern
from sidecar.core.routes.route import Route, covers_hosts, methods_of
from sidecar.core.routes.segments import covers
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import Finding, Problem, quoted, warning
from sidecar.review.tree import Read, Tree


def findings(files: ConfigFiles) -> list[Finding]:
    """Return every warning about the routes of a policy and of its candidate."""
    return [
        finding
        for compiled in (files.policy, files.shadow)
        if compiled is not None and compiled.policy is not None
        for finding in compiled.located(problems(compiled.policy))
    ]


def problems(policy: Policy) -> Iterator[Problem]:
    """Yield every warning about a policy's routes."""
    reads = [Read(route, parse_pattern(route.path)) for route in policy.routes]
    public = Tree()  # ignoring case
    for read in reads:
        if read.route.public:
            public.insert(read, read.pattern.folded())
    over: dict[int, list[Route]] = defaultdict(list)
    for read in reads:
        if read.route.public:
            continue
        elsewhere = None
        for other in public.covering(read.pattern.folded()):
            if not _share_methods(read.route, other.route):
                continue
            where = _elsewhere(read, other, policy.ignore_case)
            if where:
                elsewhere = other.route, where  # the most specific comes last
            elif other.pattern.tail:
                over[other.route.index].append(read.route)
        if elsewhere:
            yield _public_elsewhere(read.route, *elsewhere)
    for index, routes in over.items():
        yield _public_over_protected(policy.routes[index], routes)


def _share_methods(one: Route, other: Route) -> bool:
    methods, others = methods_of(one), methods_of(other)
    return not methods or not others or bool(methods & others)


def _elsewhere(read: Read, public: Read, ignore_case: bool) -> str:
    """Return where a protected path is public; empty if only under a wildcard."""
    pairs = zip(public.pattern.segments, read.pattern.segments, strict=False)
    if not ignore_case and not all(covers(wide, segment) for wide, segment in pairs):
        return "in another letter case"
    if public.pattern[:2] == read.pattern[:2] or not covers_hosts(read.route, public.route):
        return "on another host"
    return ""


def _public_elsewhere(route: Route, public: Route, where: str) -> Problem:
    return warning(
        (*ROUTES, route.index, "path"),
        "public-elsewhere",
        f"this path is protected, but {quoted(public.path)} makes it public {where}",
        "an upstream that treats both as the same path serves it without authentication",
        (*ROUTES, public.index),
    )


def _public_over_protected(public: Route, protected: list[Route]) -> Problem:
    more = f" and {len(protected) - 1} more" if len(protected) > 1 else ""
    return warning(
        (*ROUTES, public.index, "path"),
        "public-over-protected",
        f"this public wildcard covers the protected {quoted(protected[0].path)}{more}",
        "paths that are added there later are public; list the public paths instead",
        (*ROUTES, protected[0].index),
    )

"""Warnings about a policy that compiles; `serve` logs them at each start."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.config.load import ConfigFiles
from sidecar.config.policy_file import ROUTES
from sidecar.core.paths.fold import fold
from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.core.routes.route import Route, hosts_of, methods_of
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import Finding, Place, Problem, Severity, quoted


class _Read(NamedTuple):
    """A route with its parsed path."""

    route: Route
    pattern: Pattern


class _Node:
    """A prefix of public routes' paths, ignoring case; a trailing * of ``tails`` begins here."""

    __slots__ = ("ends", "literals", "one", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.one: _Node | None = None
        self.ends: list[_Read] = []
        self.tails: list[_Read] = []


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
    reads = [_Read(route, parse_pattern(route.path)) for route in policy.routes]
    public = _Node()
    for read in reads:
        if read.route.public:
            _insert(public, read)
    over: dict[int, list[Route]] = defaultdict(list)
    for read in reads:
        if read.route.public:
            continue
        elsewhere = None
        for other in _covering(public, read.pattern):
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


def _insert(node: _Node, read: _Read) -> None:
    for segment in read.pattern.segments:
        if segment is None:
            node.one = node.one or _Node()
            node = node.one
        else:
            node = node.literals.setdefault(fold(segment), _Node())
    (node.tails if read.pattern.tail else node.ends).append(read)


def _covering(root: _Node, pattern: Pattern) -> Iterator[_Read]:
    """Yield the public routes that match every path of ``pattern``, ignoring case."""
    nodes = [root]
    for segment in pattern.segments:
        for node in nodes:
            yield from node.tails
        literal = None if segment is None else fold(segment)
        nodes = [
            below
            for node in nodes
            for below in (node.one, literal and node.literals.get(literal))
            if below
        ]
    everything = not pattern.segments  # `/*` matches `/` too
    for node in nodes:
        yield from () if pattern.tail else node.ends
        yield from node.tails if pattern.tail or everything else ()


def _share_methods(one: Route, other: Route) -> bool:
    methods, others = methods_of(one), methods_of(other)
    return not methods or not others or bool(methods & others)


def _elsewhere(read: _Read, public: _Read, ignore_case: bool) -> str:
    """Return where a protected path is public; empty if only under a wildcard."""
    pairs = zip(public.pattern.segments, read.pattern.segments, strict=False)
    if not ignore_case and any(literal not in (None, segment) for literal, segment in pairs):
        return "in another letter case"
    hosts, others = hosts_of(read.route), hosts_of(public.route)
    if public.pattern[:2] == read.pattern[:2] or (hosts and not (others and others <= hosts)):
        return "on another host"
    return ""


def _public_elsewhere(route: Route, public: Route, where: str) -> Problem:
    return _warning(
        route,
        "public-elsewhere",
        f"this path is protected, but {quoted(public.path)} makes it public {where}",
        "an upstream that treats both as the same path serves it without authentication",
        public,
    )


def _public_over_protected(public: Route, protected: list[Route]) -> Problem:
    more = f" and {len(protected) - 1} more" if len(protected) > 1 else ""
    return _warning(
        public,
        "public-over-protected",
        f"this public wildcard covers the protected {quoted(protected[0].path)}{more}",
        "paths that are added there later are public; list the public paths instead",
        protected[0],
    )


def _warning(route: Route, code: str, message: str, hint: str, other: Route) -> Problem:
    place: Place = (*ROUTES, route.index, "path")
    return Problem(place, code, message, hint, Severity.WARNING, (*ROUTES, other.index))

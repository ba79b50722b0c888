"""Checks of routes, each by itself and against the others."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from sidecar.core.methods import is_method
from sidecar.core.routes.patterns import MAX_NAME, Pattern, meeting
from sidecar.core.routes.route import (
    BOTH,
    Route,
    RouteProblem,
    hosts_of,
    methods_of,
    normalise_route_host,
    shared_hosts,
)
from sidecar.core.routes.segments import Mixed, MixedIndex, Segment

KINDS = frozenset({"user", "service"})  # principal.Kind; that module imports this one
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")
PORT = re.compile(r"(?:\A[^:]*|\]):[0-9]*\Z")


def check_route(route: Route) -> Iterator[RouteProblem]:
    """Yield the problems of one route, apart from its path."""
    yield from _check_public(route)
    for kind in sorted(route.principals - KINDS if route.principals != BOTH else ()):
        yield RouteProblem(
            route.index,
            "principals",
            f"unknown kind of principal {kind!r}",
            "[user], [service], [user, service] for either, or both",
        )
    for method in sorted(route.methods):
        if not is_method(method) or method != method.upper():
            yield RouteProblem(
                route.index, "methods", f"{method!r} is not a method", "upper-case, such as GET"
            )
    for host in sorted(route.hosts):
        if PORT.search(host):
            yield RouteProblem(
                route.index,
                "hosts",
                f"the host {host!r} has a port",
                "leave the port out: a host matches with every port",
            )
        elif not normalise_route_host(host):
            yield RouteProblem(
                route.index,
                "hosts",
                f"{host!r} is not a host name",
                "a name such as api.jobfirst.local, *.jobfirst.local for every name below, "
                "or an address ([::1] for IPv6)",
            )
    if route.owner is None and route.owner_unless and not route.public:
        yield RouteProblem(
            route.index,
            "owner_unless",
            "owner_unless waives an owner, and there is none",
            "add owner, or remove owner_unless",
        )


def _check_public(route: Route) -> Iterator[RouteProblem]:
    requirements = {
        "permissions": bool(route.permissions),
        "any_permissions": bool(route.any_permissions),
        "roles": bool(route.roles),
        "owner": route.owner is not None,
        "owner_unless": bool(route.owner_unless),
        "claims": bool(route.claims),
        "callers": bool(route.callers),
    }
    if route.optional:
        yield from (
            RouteProblem(
                route.index,
                key,
                f"a route with auth_required: optional cannot require {key}: a request without a "
                "token passes",
                f"remove auth_required: optional, or {key}",
            )
            for key, required in requirements.items()
            if required
        )
    requirements |= {
        "issuers": bool(route.issuers),
        "principals": route.principals != {"user"},
    }
    for key, required in requirements.items():
        if route.public and required:
            yield RouteProblem(
                route.index,
                key,
                f"a public route cannot require {key}: it is open without a token",
                f"remove auth_required: false, or {key}",
            )


def check_owner(route: Route, pattern: Pattern) -> Iterator[RouteProblem]:
    """Yield a problem where the owner's segment is not a one-segment wildcard of the path."""
    owner = route.owner
    if owner is not None and owner not in pattern.names.values():
        yield RouteProblem(
            route.index, "owner", "the owner is not a {name} of the path", "a {name} of the path"
        )


def check_names(routes: Iterable[Route]) -> Iterator[RouteProblem]:
    """Yield the problems of the routes' names, which are label values of a metric."""
    first: dict[str, Route] = {}
    for route in routes:
        if not NAME.fullmatch(route.name):
            yield RouteProblem(
                route.index,
                "name",
                f"{route.name!r} cannot be a name",
                f"up to {MAX_NAME} letters, digits, dots, _ and -, the first a letter or a digit",
            )
        other = first.setdefault(route.name, route)
        if other is not route:
            yield RouteProblem(
                route.index,
                "name",
                f"the name {route.name!r} is used by another route",
                "give each route a name of its own",
                other.index,
            )


_EVERY = "*"


def check_rivals(routes: Sequence[Route]) -> Iterator[RouteProblem]:
    """Yield a problem for each two of these routes of equal paths that could win one request."""
    taken: dict[str, dict[str, Route]] = {}
    for route in routes:
        rivals: dict[int, tuple[Route, str]] = {}
        for host in sorted(hosts_of(route)) or [_EVERY]:
            by_method = taken.setdefault(host, {})
            methods = sorted(methods_of(route)) or [_EVERY]
            for method in methods:
                if method == _EVERY:
                    found = list(by_method.values())
                else:
                    found = [by_method[m] for m in (method, _EVERY) if m in by_method]
                for rival in found:
                    rivals.setdefault(rival.index, (rival, method))
            for method in methods:
                by_method.setdefault(method, route)
        for rival, method in rivals.values():
            of = "any method" if method == _EVERY else method
            yield RouteProblem(
                route.index,
                "path",
                f"this route and {rival.name!r} ({rival.path}) could both win a request of {of}",
                "tell them apart by path, methods or hosts (GET includes HEAD)",
                rival.index,
            )


MAX_COMPARED = 10_000
"""Pairs of routes that are compared because neither path is more specific; tables have none."""


def check_unordered(patterns: Iterable[tuple[Route, Pattern]]) -> Iterator[RouteProblem]:
    """Yield a problem for each route that shares a path with one that is neither more specific.

    Paths are compared segment by segment. ``a{x}`` and ``{x}b`` both take ``a1b``, and their
    literals are equally long.
    """
    below: dict[tuple[Segment, ...], MixedIndex[list[tuple[Route, Pattern]]]] = {}
    for route, pattern in patterns:
        for depth, segment in enumerate(pattern.segments):
            if isinstance(segment, Mixed):
                index = below.setdefault(pattern.segments[:depth], MixedIndex())
                (index.get(segment) or index.add(segment, [])).append((route, pattern))
    reported: set[int] = set()
    compared = 0
    for index in below.values():
        for pair in index.unordered():
            ours, theirs = (index.get(mixed) or [] for mixed in pair)
            for (one, of_one), (other, of_other) in product(ours, theirs):
                first, last = sorted((one, other), key=lambda route: route.index)
                if last.index in reported:
                    continue
                compared += 1
                meet = meeting(of_one, of_other) is not None
                if (meet and shared_hosts(one, other) is not None) or compared > MAX_COMPARED:
                    reported.add(last.index)
                    yield _unordered(last, first, *pair)


def _unordered(route: Route, other: Route, *pair: Mixed) -> RouteProblem:
    segments = " and ".join(f"{mixed.prefix}{{name}}{mixed.suffix}" for mixed in pair)
    return RouteProblem(
        route.index,
        "path",
        f"this route and {other.name!r} ({other.path}) could both win a request: neither of "
        f"{segments} is more specific",
        "the segment with the longest literal text wins; tell them apart by path or hosts",
        other.index,
    )

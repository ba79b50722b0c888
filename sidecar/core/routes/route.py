"""One route: what it matches and what it requires."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.core.routes.conditions import Condition, Steps
from sidecar.core.routes.segments import Mixed

USERS: Final = frozenset({"user"})
BOTH: Final = frozenset({"both"})
"""Of ``Route.principals``: a user's token and a service's are required together."""


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table: what it matches and what it requires.

    ``methods`` and ``hosts`` empty mean every one. ``hosts`` has names, and ``*.`` with a name for
    every name below it, as the domains of Envoy's virtual hosts. ``owner`` is the index of the
    path's segment that must be the principal's subject, or the claim ``owner_claim``; None where
    there is no owner. ``optional`` admits a request without a credential as a public route does.
    ``callers`` are identities in the certificate of Envoy's peer, of which one is needed.
    ``mixed`` has the segments that are a name between literals, with their index, where a
    requirement reads them; ``compile_policy`` fills it in.
    """

    index: int
    name: str
    path: str
    target: str = ""
    methods: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    public: bool = False
    permissions: tuple[str, ...] = ()
    any_permissions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    owner: int | None = None
    owner_unless: tuple[str, ...] = ()
    principals: frozenset[str] = USERS
    issuers: frozenset[str] = frozenset()
    optional: bool = False
    owner_claim: Steps = ()
    claims: tuple[Condition, ...] = ()
    callers: frozenset[str] = frozenset()
    mixed: tuple[tuple[int, Mixed], ...] = ()

    def captured(self, index: int, segments: Sequence[str]) -> str | None:
        """Return the part of a path that the ``{name}`` of a segment takes; None for another path.

        ``segments`` are as some upstream sees them.
        """
        if index >= len(segments):
            return None
        for place, mixed in self.mixed:
            if place == index:
                return mixed.capture_in(segments[index])
        return segments[index]


class NotAllowed(NamedTuple):
    """The path has a route, but not for this method; ``methods`` are those it has, sorted."""

    route: Route
    methods: tuple[str, ...]


class RouteProblem(NamedTuple):
    """A problem of the route at index ``route``, under its YAML key ``key``.

    ``help`` says how to fix it. ``other`` is the index of the other route in a conflict.
    """

    route: int
    key: str
    message: str
    help: str = ""
    other: int | None = None


def methods_of(route: Route) -> frozenset[str]:
    """Return the methods that a route answers; empty means every one. GET includes HEAD."""
    return route.methods | {"HEAD"} if "GET" in route.methods else route.methods


def written_with_slash(found: Route | NotAllowed) -> bool:
    """Say whether the table writes a route's path with a slash at its end; `/` does not count."""
    path = found.path if isinstance(found, Route) else found.route.path
    return path.endswith("/") and path != "/"


def hosts_of(route: Route) -> frozenset[str]:
    """Return the hosts of a route as they are compared; empty means every one."""
    return frozenset(filter(None, map(normalise_route_host, route.hosts)))


def is_wide(host: str) -> bool:
    """Say whether a route's host stands for every name below one."""
    return host.startswith("*")


def normalise_route_host(host: str) -> str | None:
    """Return a route's host as it is compared, None for an invalid one.

    ``*.example.com`` is every name below ``example.com``, one or more labels longer.
    """
    if not host.startswith("*."):
        return normalise_host(host)
    name = normalise_host(host[2:])
    return f"*.{name}" if name and name[0] != "[" else None


def shared_hosts(one: Route, other: Route) -> frozenset[str] | None:
    """Return the hosts of both routes, empty where they share all; None where they share none."""
    ours, theirs = hosts_of(one), hosts_of(other)
    if not ours or not theirs:
        return ours or theirs
    shared = {host for host in ours if any(_covers(wide, host) for wide in theirs)}
    shared |= {host for host in theirs if any(_covers(wide, host) for wide in ours)}
    return frozenset(shared) or None


def closeness(route: Route, name: str) -> int | None:
    """Say how closely a route names a host: the longer, the more; 0 if it is for every host.

    None if it is for others.
    """
    hosts = hosts_of(route)
    if not hosts:
        return 0
    if name in hosts:
        return len(name) + 1  # more than the longest suffix
    return max((len(host) for host in hosts if _covers(host, name)), default=None)


def covers_hosts(wide: Route, narrow: Route) -> bool:
    """Say whether a route is for every host that another is for."""
    ours, theirs = hosts_of(wide), hosts_of(narrow)
    if not ours or not theirs:
        return not ours
    return all(any(_covers(host, other) for host in ours) for other in theirs)


def _covers(wide: str, host: str) -> bool:
    return host == wide or (is_wide(wide) and host.endswith(wide[1:]))


def example_hosts(hosts: frozenset[str]) -> list[str]:
    """Return a name for each of these hosts, and one that no route names where they are empty."""
    return [f"any-host{host[1:]}" if is_wide(host) else host for host in sorted(hosts)] or [
        "host.invalid"  # RFC 2606
    ]


_PORT = re.compile(r":[0-9]*\Z")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]{2,45}\]|")


def is_spelt_otherwise(host: str, name: str) -> bool:
    """Say whether a host is the one of this name, as hosts are compared, by more than its port."""
    return _PORT.sub("", host) != name


def normalise_host(host: str) -> str | None:
    """Return a host as hosts are compared: lower-case, without port and trailing dot.

    None for an invalid host, which an upstream might still take for one that a route names.
    """
    if not host.isascii():
        return None  # before lower() makes a k of the Kelvin sign
    name = _PORT.sub("", host.lower()).removesuffix(".")
    return name if _HOST.fullmatch(name) else None

"""One route: what it matches and what it requires."""

import re
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table: what it matches and what it requires.

    ``methods`` and ``hosts`` empty mean every one. ``owner`` is the index of the path's segment
    that must be the principal's subject, None where there is no owner.
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
    principals: frozenset[str] = frozenset({"user"})
    issuers: frozenset[str] = frozenset()


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
    return frozenset(filter(None, map(normalise_host, route.hosts)))


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

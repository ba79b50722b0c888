"""The route table: which route a request falls to, at a cost that does not grow with the table."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table: what it matches and what it requires.

    ``methods`` and ``hosts`` empty mean every one. ``owner`` is the index of the path's segment that must be the
    principal's subject, None where nobody owns it.
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

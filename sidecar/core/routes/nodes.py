"""The compiled table as a tree: a node per prefix, and the routes where a path ends."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.core.routes.route import NotAllowed, Route, hosts_of, is_wide, methods_of
from sidecar.core.routes.segments import Mixed, MixedIndex, Segment


class Group:
    """The routes of one path for one host: by method, or what every other method gets."""

    __slots__ = ("by_method", "otherwise")

    def __init__(self, routes: Sequence[Route]) -> None:
        self.by_method = {method: route for route in routes for method in methods_of(route)}
        self.otherwise: Route | NotAllowed = (
            NotAllowed(routes[0], tuple(sorted(self.by_method))) if self.by_method else routes[0]
        )


class Place:
    """Where a path ends: the routes there, by host.

    ``by_suffix`` is for hosts such as ``*.example.com``, by what follows the ``*``; ``lengths`` are
    those of its keys, the longest first.
    """

    __slots__ = ("any_host", "by_host", "by_suffix", "lengths")

    def __init__(self) -> None:
        self.by_host: dict[str, Group] = {}
        self.by_suffix: dict[str, Group] = {}
        self.lengths: tuple[int, ...] = ()
        self.any_host: Group | None = None

    def group(self, host: str) -> Group | None:
        """Return the routes for a host: of its name, of the longest suffix, of any host."""
        group = self.by_host.get(host)
        if group is not None:
            return group
        for length in self.lengths:
            wide = self.by_suffix.get(host[-length:]) if length < len(host) else None
            if wide is not None:
                return wide
        return self.any_host


class Node:
    """A prefix of paths. ``tail`` is a node of its own, at which the rest of the path ends.

    ``branches`` says that a segment which is none of ``literals`` may lead on.
    """

    __slots__ = ("branches", "here", "literals", "mixed", "one", "tail")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.mixed: MixedIndex[Node] | None = None
        self.one: Node | None = None
        self.tail: Node | None = None
        self.branches = False
        self.here: Place | None = None

    def steps(self) -> int:
        """Return how many nodes a lookup from here visits at most."""
        return (
            1
            + max((node.steps() for node in self.literals.values()), default=0)
            + (self.mixed.most_at_once(Node.steps) if self.mixed else 0)
            + (self.one.steps() if self.one else 0)
            + (1 if self.tail else 0)
        )


def insert(node: Node, segments: tuple[Segment, ...], tail: bool) -> Node:
    """Return the node of a pattern below ``node``, made where there is none."""
    for segment in segments:
        if segment is None:
            node.branches = True
            node.one = node.one or Node()
            node = node.one
        elif isinstance(segment, Mixed):
            node.branches = True
            node.mixed = node.mixed or MixedIndex()
            node = node.mixed.get(segment) or node.mixed.add(segment, Node())
        else:
            node = node.literals.setdefault(segment, Node())
    if tail:
        node.branches = True
        node.tail = node.tail or Node()
        node = node.tail
    return node


def place_of(routes: Sequence[Route]) -> Place:
    """Return where the path of these routes ends."""
    place = Place()
    hostless = [route for route in routes if not route.hosts]
    if hostless:
        place.any_host = Group(hostless)
    by_host: dict[str, list[Route]] = {}
    for route in routes:
        for host in hosts_of(route):
            by_host.setdefault(host, []).append(route)
    for host, group in by_host.items():
        if is_wide(host):
            place.by_suffix[host[1:]] = Group(group)
        else:
            place.by_host[host] = Group(group)
    place.lengths = tuple(sorted({*map(len, place.by_suffix)}, reverse=True))
    return place

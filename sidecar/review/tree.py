"""Finds the routes of a table whose paths have something in common with a path."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.core.routes.patterns import Pattern
from sidecar.core.routes.route import Route


class Read(NamedTuple):
    """A route with its parsed path."""

    route: Route
    pattern: Pattern


class Tree:
    """A prefix of paths; ``ends`` are those that end here, ``tails`` those whose * begins here."""

    __slots__ = ("below", "ends", "tails")

    def __init__(self) -> None:
        self.below: dict[str | None, Tree] = {}
        self.ends: list[Read] = []
        self.tails: list[Read] = []

    def insert(self, read: Read, pattern: Pattern) -> None:
        """Insert a route under this pattern of its path."""
        node = self
        for segment in pattern.segments:
            node = node.below.setdefault(segment, Tree())
        (node.tails if pattern.tail else node.ends).append(read)

    def covering(self, pattern: Pattern) -> Iterator[Read]:
        """Yield the routes that match every path of a pattern, the most specific last."""
        nodes = [self]
        for segment in pattern.segments:
            for node in nodes:
                yield from node.tails
            nodes = [below for node in nodes for below in node.accepting(segment)]
        everything = not pattern.segments  # `/*` matches `/` too
        for node in nodes:
            yield from () if pattern.tail else node.ends
            yield from node.tails if pattern.tail or everything else ()

    def touching(self, pattern: Pattern) -> Iterator[Read]:
        """Yield the routes that match something that a pattern matches too."""
        nodes = [self]
        for segment in pattern.segments:
            for node in nodes:
                yield from node.tails
            nodes = [
                below
                for node in nodes
                for below in (node.below.values() if segment is None else node.accepting(segment))
            ]
        if not pattern.tail:
            for node in nodes:
                yield from node.ends
            return
        if not pattern.segments:
            yield from self.ends
        while nodes:
            node = nodes.pop()
            yield from node.tails
            for below in node.below.values():
                yield from below.ends
                nodes.append(below)

    def accepting(self, segment: str | None) -> list["Tree"]:
        """Return what is below for every path with this segment."""
        return [self.below[key] for key in dict.fromkeys((None, segment)) if key in self.below]

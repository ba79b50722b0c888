"""Finds the routes of a table whose paths have something in common with a path."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.core.routes.patterns import Pattern
from sidecar.core.routes.route import Route
from sidecar.core.routes.segments import Mixed, MixedIndex, Segment, both, example


class Read(NamedTuple):
    """A route with its parsed path."""

    route: Route
    pattern: Pattern


class Tree:
    """A prefix of paths; ``ends`` are those that end here, ``tails`` those whose * begins here."""

    __slots__ = ("below", "ends", "mixed", "tails")

    def __init__(self) -> None:
        self.below: dict[Segment, Tree] = {}
        self.mixed: MixedIndex[Tree] = MixedIndex()
        self.ends: list[Read] = []
        self.tails: list[Read] = []

    def insert(self, read: Read, pattern: Pattern) -> None:
        """Insert a route under this pattern of its path."""
        node = self
        for segment in pattern.segments:
            below = node.below.setdefault(segment, Tree())
            if isinstance(segment, Mixed):
                node.mixed.add(segment, below)
            node = below
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
            nodes = [below for node in nodes for below in node.sharing(segment)]
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

    def accepting(self, segment: Segment) -> list["Tree"]:
        """Return what is below for every path with this segment, the most specific last."""
        mixed = [] if segment is None else self.mixed.matching(example(segment))
        found = [self.below.get(None), *(below for _, below in mixed)]
        found.append(self.below.get(segment) if isinstance(segment, str) else None)
        return [below for below in found if below is not None]

    def sharing(self, segment: Segment) -> list["Tree"]:
        """Return what is below for some path with this segment."""
        if isinstance(segment, str):
            return self.accepting(segment)
        return [below for key, below in self.below.items() if both(key, segment) is not None]

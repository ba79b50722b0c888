"""A walk through the route table to every route that some upstream matches a path to."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from sidecar.core.paths.problems import PathError, PathProblem
from sidecar.core.paths.readings import MAX_WORK
from sidecar.core.paths.upstreams import Upstream
from sidecar.core.routes.nodes import Node, Place
from sidecar.core.routes.route import NotAllowed, Route, written_with_slash
from sidecar.core.routes.segments import Mixed

STEP_WORK: Final = 32
"""The part of ``MAX_WORK`` for visiting one node: it takes as long as 32 characters."""


class Doubtful(NamedTuple):
    """A path as upstreams may compare it.

    ``keys`` are the literals that its segments are. Of a segment whose index is in ``doubted`` only
    some upstreams say so, and some take it for one of ``others``. ``mixed`` has what some upstream
    takes a segment for, the most specific first, and whether all do. ``keeps_slash``
    says that a slash ends the path, and that the path without it is another one.
    """

    keys: tuple[str, ...]
    doubted: Collection[int]
    others: Mapping[int, Collection[str]]
    mixed: Mapping[int, Mapping[Mixed, bool]]
    keeps_slash: bool


class Walk:
    """Walks for one request; ``found`` has the routes at their ends, each once.

    ``work`` begins at the work done before and is limited by MAX_WORK.
    """

    def __init__(self, upstream: Upstream, host: str, method: str, work: int) -> None:
        """Prepare for walking as an upstream does."""
        self.found: list[Route | NotAllowed] = []
        self.work = work
        self._upstream = upstream
        self._host = host
        self._method = method

    def through(self, path: Doubtful, root: Node, everything: Node | None) -> None:
        """Walk from the root. Raises PathError where the work becomes too much."""
        self._keys, self._doubted, self._others, self._mixed, self._keeps_slash = path
        if not self._on(root, 0) and everything is not None:
            self._take(everything.here)

    def _on(self, node: Node, depth: int, *, captured: bool = False) -> bool:
        """Walk on from a node, and say whether every upstream finds a route from here.

        ``captured`` says that a name took the end of the segment before. The depth is bounded by
        the segments that a path can have.
        """
        self.work += STEP_WORK
        if self.work > MAX_WORK:
            raise PathError(PathProblem.TOO_MUCH_WORK)
        if depth == len(self._keys):
            return self._end_slash(node, captured) if self._keeps_slash else self._end(node)
        for other in self._others.get(depth, ()):
            below = node.literals.get(other)
            if below is not None:
                self._on(below, depth + 1)
        key = self._keys[depth]
        below = node.literals.get(key)
        if below is not None and self._on(below, depth + 1) and depth not in self._doubted:
            return True
        if node.mixed is not None:
            for mixed, all_do in self._mixed.get(depth, {}).items():
                below = node.mixed.get(mixed)
                if below is not None:
                    captured = not mixed.suffix
                    if self._on(below, depth + 1, captured=captured) and all_do:
                        return True
        if (
            node.one is not None
            and self._on(node.one, depth + 1, captured=True)
            and not (
                self._upstream.dots_end_captures and "." in key and depth + 1 < len(self._keys)
            )
        ):
            return True
        return node.tail is not None and self._take(node.tail.here) is not None

    def _end(self, node: Node) -> bool:
        """End a path without a slash: another one than where the table writes it, to some."""
        found = self._take(node.here)
        if found is not None and not (self._upstream.keeps_slash and written_with_slash(found)):
            return True
        if self._upstream.empty_tails and node.tail is not None:
            self._take(node.tail.here)
        return False

    def _end_slash(self, node: Node, captured: bool) -> bool:
        """End a path at a slash: it is a path of its own, unless the table writes that one."""
        found = self._at(node.here)
        if found is not None and written_with_slash(found):
            self._add(found)
            return True
        if node.tail is not None:
            self._take(node.tail.here)
        if self._upstream.empty_captures and node.one is not None:
            self._take(node.one.here)
        if self._upstream.slashed_captures and captured:
            self._take(node.here)
        return False

    def _take(self, place: Place | None) -> Route | NotAllowed | None:
        """Add and return what a place has for the host and the method, None where it has none."""
        found = self._at(place)
        if found is not None:
            self._add(found)
        return found

    def _at(self, place: Place | None) -> Route | NotAllowed | None:
        group = None if place is None else place.group(self._host)
        return None if group is None else group.by_method.get(self._method) or group.otherwise

    def _add(self, found: Route | NotAllowed) -> None:
        if not any(found is other for other in self.found):
            self.found.append(found)

"""What is known of a registry over time: listings, changes, and what vanished.

A registry that restarts with an empty table, or loses most of one, would take every target down. So
what vanished stays, as a last choice, until the registry lists it again or ``empty_grace`` ends.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.core.placement.directory import Allocation, Directory, Instance

# A service that loses more than this share of its instances is not believed to have lost them.
MOST: Final = 0.5

Allocations = Mapping[str, tuple[Allocation, ...]]


class Listing(NamedTuple):
    """All instances of a registry or, unless ``complete``, what changed since the listing before.

    ``removed`` are ids; ``left`` are those of them whose nodes deregistered. ``allocations`` is
    None where they are unchanged. ``refused`` is how many entries of the answer are not used.
    """

    instances: tuple[Instance, ...]
    removed: frozenset[str] = frozenset()
    complete: bool = True
    allocations: Allocations | None = None
    refused: int = 0
    left: frozenset[str] = frozenset()


class Known:
    """The instances of a registry, and those that it lost within ``empty_grace`` seconds.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, empty_grace: float) -> None:
        self._empty_grace = empty_grace
        self._listed: dict[str, Instance] = {}
        self._lost: dict[str, tuple[float, Instance]] = {}  # with the end of its grace
        self._allocations: Allocations = {}

    def take(self, listing: Listing, now: float) -> bool:
        """Add a listing; return whether it changes anything.

        An instance that was draining, or whose node deregistered, is believed to be gone.
        """
        listed = {each.id: each for each in listing.instances}
        if not listing.complete:
            kept = {
                name: each for name, each in self._listed.items() if name not in listing.removed
            }
            listed = {**kept, **listed}
        lost = {
            name: (now + self._empty_grace, each)
            for name, each in self._listed.items()
            if name not in listed and name not in listing.left and not each.draining
        }
        still = {
            name: each
            for name, each in self._lost.items()
            if name not in listed and name not in listing.left
        }
        changed = listed != self._listed or len(still) != len(self._lost)
        self._listed, self._lost = listed, {**still, **lost}
        if listing.allocations is not None:
            changed = changed or listing.allocations != self._allocations
            self._allocations = listing.allocations
        return changed

    def directory(self, now: float) -> Directory:
        """Return the directory at this moment."""
        self._lost = {name: lost for name, lost in self._lost.items() if lost[0] > now}
        lost = [each for _, each in self._lost.values()]
        losses = Counter(each.service for each in lost)
        listed = Counter(each.service for each in self._listed.values())
        doubted = {
            service for service, count in losses.items() if count > MOST * (count + listed[service])
        }
        vanished = (each._replace(vanished=True) for each in lost if each.service in doubted)
        return Directory((*self._listed.values(), *vanished), self._allocations)

    def next_change(self) -> float | None:
        """Return when the next lost instance is dropped, None where none was lost."""
        return min((end for end, _ in self._lost.values()), default=None)

"""Choose the instances that may serve a caller, the best first."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sidecar.core.placement.directory import (
    Allocation,
    Directory,
    Health,
    Instance,
    Requirements,
    matches,
)
from sidecar.core.placement.ring import Ring

# The instance and two alternates: Envoy tries the next one where a connection fails.
MAX_PICKS: Final = 3

# Clusters of the gateway's envoy.yaml: a route to one would lead clients to the sidecar itself or
# to Envoy's admin interface. No target may have their names.
RESERVED: Final = frozenset({"authz", "admin", "nowhere"})

# Subjects whose picks are remembered, of all targets, and the longest of them: some 4 MiB at most.
# All are forgotten when there are so many: a look-up is one of a dict, which keeps no order.
_MAX_REMEMBERED: Final = 8192
_MAX_SUBJECT: Final = 128

_HEALTHIEST_FIRST: Final = {Health.HEALTHY: 0, Health.WARNING: 1, Health.UNKNOWN: 1}


class Placements:
    """The instances of each target in a directory, prepared for look-ups.

    ``targets`` are names of services, or prefixes of names that end in ``*``. ``zone`` is the
    gateway's own: among instances of equal health those in it come first. Gateways with the same
    directory, targets and zone place every caller alike. ``fixed`` are the services that the
    configuration names: Envoy chooses among their addresses.

    Preparing takes some 300 ms for 10,000 instances, which is too long for the event loop.
    """

    def __init__(
        self,
        targets: Iterable[str],
        directory: Directory,
        zone: str = "",
    ) -> None:
        self.fixed = frozenset(directory.fixed)
        self._directory = directory
        self._zone = zone
        allocated = {each for some in directory.allocations.values() for each in some}
        self._wanted = {("", ()), *((each.service, each.requirements) for each in allocated)}
        self._targets = {target: self._prepared(target) for target in targets}
        self._remembered = 0  # subjects, of all targets

    def place(self, target: str, subject: str, user: bool = True) -> tuple[str, ...]:
        """Return the addresses (``ip:port``) that may serve a subject, the best first.

        There are at most ``MAX_PICKS``, and none where nothing usable is known. A user's allocated
        instance comes first. ``user`` is False for a service, which has no allocation.
        """
        prepared = self._targets.get(target) or self._target(target)
        known = prepared.users if user else prepared.services
        picks = known.get(subject)
        if picks is None:
            allocations = self._directory.allocations.get(subject, ()) if user else ()
            picks = prepared.place(subject, allocations)
            if len(subject) <= _MAX_SUBJECT:
                if self._remembered >= _MAX_REMEMBERED:
                    self._forget()
                known[subject] = picks
                self._remembered += 1
        return picks

    def serves(self, target: str) -> bool:
        """Say whether a target has any usable instance."""
        return bool(self._target(target).tiers[()])

    def _forget(self) -> None:
        for each in self._targets.values():
            each.users.clear()
            each.services.clear()
        self._remembered = 0

    def _target(self, target: str) -> "_Target":
        """Return a target; one that a policy added since is prepared here."""
        found = self._targets.get(target)
        if found is None:
            found = self._targets[target] = self._prepared(target)
        return found

    def _prepared(self, target: str) -> "_Target":
        return _Target(target, self._directory.of_target(target), self._wanted, self._zone)


class _Tier(NamedTuple):
    """Instances of equal preference; ``ring`` is None where there is one instance."""

    instances: list[Instance]
    ring: Ring | None

    def picks(self, subject: str) -> list[str]:
        """Return the addresses for a subject, the best first."""
        if self.ring is None:
            return [self.instances[0].address]
        return [self.instances[index].address for index in self.ring.first(subject, MAX_PICKS)]


class _Target:
    def __init__(
        self,
        name: str,
        instances: Sequence[Instance],
        wanted: Iterable[tuple[str, Requirements]],
        zone: str,
    ) -> None:
        # The picks of each subject, which ``Placements`` bounds.
        self.users: dict[str, tuple[str, ...]] = {}
        self.services: dict[str, tuple[str, ...]] = {}
        self._name = name
        self._listed = {each.id: each for each in instances if not each.vanished}
        usable = [each for each in instances if each.usable]
        self.tiers = {
            requirements: _tiers([each for each in usable if _fits(each, requirements)], zone)
            for requirements in {requirements for _, requirements in wanted}
        }
        # A prefix's services that users are allocated to. One that vanished is a last choice.
        by_service: dict[str, list[Instance]] = {}
        for each in usable if name.endswith("*") else ():
            if not each.vanished:
                by_service.setdefault(each.service, []).append(each)
        self._of_service = {
            (service, requirements): _tiers(
                [each for each in by_service[service] if _fits(each, requirements)], zone
            )
            for service, requirements in wanted
            if service in by_service
        }

    def place(self, subject: str, allocations: Iterable[Allocation]) -> tuple[str, ...]:
        picks: list[str] = []
        tiers = self.tiers[()]
        for allocation in allocations:
            if matches(self._name, allocation.service):
                if not allocation.fulfillable:
                    return ()
                requirements = allocation.requirements
                instance = self._listed.get(allocation.instance)
                if instance is not None and instance.usable and _fits(instance, requirements):
                    picks.append(instance.address)
                own = self._of_service.get((allocation.service, requirements), [])
                tiers = [*own, *self.tiers[requirements]]
                break
        for tier in tiers:
            if len(picks) > MAX_PICKS:
                break
            picks += tier.picks(subject)
        return tuple(dict.fromkeys(picks))[:MAX_PICKS]


def _fits(instance: Instance, requirements: Requirements) -> bool:
    return all(instance.labels.get(name) == value for name, value in requirements)


def _tiers(instances: Iterable[Instance], zone: str) -> list[_Tier]:
    """Group usable instances: listed before vanished, then by health, then the gateway's zone."""
    groups: dict[tuple[bool, int, bool], list[Instance]] = {}
    for each in instances:
        rank = (each.vanished, _HEALTHIEST_FIRST[each.health], bool(zone) and each.zone != zone)
        groups.setdefault(rank, []).append(each)
    return [
        _Tier(
            group,
            Ring((i, each.id, each.capacity) for i, each in enumerate(group))
            if len(group) > 1
            else None,
        )
        for _, group in sorted(groups.items())
    ]

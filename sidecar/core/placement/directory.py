"""The instances that the registry and the configuration know, at one moment."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple


class Health(StrEnum):
    """An instance's health as its sidecar reports it; ``unknown`` without a probe."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Instance(NamedTuple):
    """One address that serves.

    ``address`` is ``ip:port``, as Envoy's endpoints have it. ``capacity`` is a weight beside other
    instances. ``vanished`` is an instance that the registry no longer lists, and has not removed
    either: it may be the registry that forgot.
    """

    id: str
    service: str
    address: str
    health: Health = Health.UNKNOWN
    ready: bool = True
    draining: bool = False
    zone: str = ""
    capacity: int = 1
    labels: Mapping[str, str] = {}
    vanished: bool = False

    @property
    def usable(self) -> bool:
        """Say whether the instance may get requests."""
        return self.ready and not self.draining and self.health is not Health.CRITICAL


Requirements = tuple[tuple[str, str], ...]  # names and values of labels


class Allocation(NamedTuple):
    """What Looma allocated to a user: an instance of a service, by its id.

    Any instance that serves the user must have the labels in ``requirements``. ``instance`` is
    empty where Looma leaves the choice among the service's instances open. ``fulfillable`` is False
    where the requirements could not be read: then no instance serves the user.
    """

    service: str
    instance: str = ""
    requirements: Requirements = ()
    fulfillable: bool = True


class Directory(NamedTuple):
    """The registry's instances, the allocations by the user's subject, and fixed services.

    ``fixed`` has the addresses of each service that the configuration names, as ``host:port``,
    where the host may be a name. Only a target with exactly this name leads to them.
    """

    instances: tuple[Instance, ...] = ()
    allocations: Mapping[str, tuple[Allocation, ...]] = {}
    fixed: Mapping[str, tuple[Instance, ...]] = {}

    def of_target(self, target: str) -> Sequence[Instance]:
        """Return the instances of a target: a service, or a prefix that ends in ``*``."""
        if target in self.fixed:
            return self.fixed[target]
        return [each for each in self.instances if matches(target, each.service)]


def matches(target: str, service: str) -> bool:
    """Say whether a service belongs to a target: its name, or a prefix that ends in ``*``."""
    return service.startswith(target[:-1]) if target.endswith("*") else service == target

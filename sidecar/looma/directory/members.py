"""One entry of a registry's listing: an instance, or why it is none.

A registered instance receives users' tokens, so an address outside ``allow_networks`` is refused,
and so is the name of a service that the configuration names.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple

from sidecar.core.placement.directory import (
    Allocation,
    Health,
    Instance,
    Requirements,
    matches,
)
from sidecar.core.placement.place import RESERVED
from sidecar.core.placement.ring import MAX_CAPACITY

# An entry with more is refused: 10,000 instances of this size are some 50 MiB of a listing.
MAX_LABELS: Final = 32
MAX_LABEL_CHARACTERS: Final = 256
MAX_SERVICE_CHARACTERS: Final = 128

ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SERVICE = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_SERVICE_CHARACTERS}}}")
_CAPACITY = re.compile(r"[1-9][0-9]{0,3}")

_THIS_NETWORK: Final = ip_network("0.0.0.0/8")  # RFC 1122, 3.2.1.3

# They give a machine's credentials to every client, and have addresses like any instance's.
METADATA_SERVICES: Final = frozenset(
    map(
        ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure's wire server
            "192.0.0.192",  # Oracle Cloud Classic
            "fd00:ec2::254",  # AWS
            "fd00:ec2::23",  # AWS, credentials of a pod
            "fd20:ce::254",  # Google Cloud
            "fd00:42::42",  # Scaleway
        ),
    )
)

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class RefusedEntryError(Exception):
    """An entry that is not used; the message says why, without text of the entry."""


class Admission(NamedTuple):
    """Which instances are admitted.

    ``networks`` are those of every target, ``of_targets`` those of a target (a name, or a prefix
    before ``*``) instead. ``fixed`` are the services that the configuration names.
    """

    networks: tuple[Network, ...]
    of_targets: Mapping[str, tuple[Network, ...]] = {}
    fixed: frozenset[str] = frozenset()

    def networks_of(self, service: str) -> tuple[Network, ...]:
        """Return the networks of a service: of the target that names most of it, else all."""
        targets = [target for target in self.of_targets if matches(target, service)]
        # The name itself is longer than any of its prefixes, without their *.
        best = max(targets, key=lambda target: (len(target.rstrip("*")), target), default=None)
        return self.networks if best is None else self.of_targets[best]


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks (``10.0.0.0/8``, ``fd00::/8``). Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def instance(entry: object, admission: Admission) -> Instance:
    """Return the instance of an entry of ``GET /cluster/services?view=membership``.

    Raises RefusedEntryError.
    """
    if not isinstance(entry, dict):
        raise RefusedEntryError("an entry is not an object")
    service = _matching(_SERVICE, entry.get("service_name"), "service_name")
    if service in RESERVED:
        raise RefusedEntryError("it has the name of a cluster of Envoy itself")
    if service in admission.fixed:
        raise RefusedEntryError("it has the name of a service in gateway.services")
    labels = _labels(entry.get("labels"))
    capacity = labels.get("capacity", "1")
    return Instance(
        id=_matching(ID, entry.get("service_id"), "service_id"),
        service=service,
        address=_address(entry, admission.networks_of(service)),
        health=_health(entry.get("health_status")),
        ready=entry.get("ready") is not False,
        draining=entry.get("draining") is True or entry.get("status") == "draining",
        zone=labels.get("zone", ""),
        capacity=min(int(capacity), MAX_CAPACITY) if _CAPACITY.fullmatch(capacity) else 1,
        labels=labels,
    )


def allocation(entry: object) -> tuple[str, Allocation]:
    """Return the subject and the allocation of an entry of ``GET /cluster/allocations``.

    If only its requirements cannot be read, no instance fulfils them: to ignore them would send the
    user where Looma does not allow it. Raises RefusedEntryError.
    """
    if not isinstance(entry, dict):
        raise RefusedEntryError("an allocation is not an object")
    subject = entry.get("user_id")
    if isinstance(subject, int) and not isinstance(subject, bool):
        subject = str(subject)
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_LABEL_CHARACTERS:
        raise RefusedEntryError("an allocation without a user_id")
    service = _matching(_SERVICE, entry.get("service_name"), "service_name")
    given = entry.get("service_id")
    name = _matching(ID, given, "service_id") if given else ""
    try:
        requirements: Requirements = tuple(sorted(_labels(entry.get("requirements")).items()))
    except RefusedEntryError:
        return subject, Allocation(service, name, fulfillable=False)
    return subject, Allocation(service, name, requirements)


def _matching(pattern: re.Pattern[str], value: object, name: str) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    raise RefusedEntryError(f"an invalid {name}")


def _address(entry: Mapping[str, Any], allowed: Iterable[Network]) -> str:
    host, port = entry.get("address"), entry.get("port")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise RefusedEntryError("an invalid port")
    try:
        address = ip_address(host if isinstance(host, str) else "")
    except ValueError:
        raise RefusedEntryError("an address that is not an IP address") from None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.scope_id is not None:
            raise RefusedEntryError("an address with a zone")
    if _is_never_an_instances(address):
        raise RefusedEntryError("an address that no instance has, such as a link-local one")
    fitting = [each for each in allowed if address.version == each.version and address in each]
    if not fitting:
        raise RefusedEntryError("an address outside gateway.allow_networks")
    if address.is_loopback and not any(each.is_loopback for each in fitting):
        raise RefusedEntryError("a loopback address, which only a loopback network allows")
    text = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    return f"{text}:{port}"


def _is_never_an_instances(address: Address) -> bool:
    """Say whether an address is refused whatever the allowed networks are."""
    if address in METADATA_SERVICES or address.is_multicast or address.is_link_local:
        return True
    if isinstance(address, IPv4Address):
        return address in _THIS_NETWORK or address.is_reserved
    # Addresses with an IPv4 address inside (NAT64, IPv4-compatible) are reserved ones too.
    within = address.sixtofour or address.teredo
    return within is not None or (address.is_reserved and not address.is_loopback)


def _health(value: object) -> Health:
    try:
        return Health(value) if isinstance(value, str) else Health.UNKNOWN
    except ValueError:
        return Health.UNKNOWN


def _labels(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise RefusedEntryError(f"labels that are not an object, or more than {MAX_LABELS}")
    found = {}
    for name, text in value.items():
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        if not isinstance(text, str) or max(len(name), len(text)) > MAX_LABEL_CHARACTERS:
            raise RefusedEntryError("a label that is not text, or too long")
        found[name] = text
    return found

"""Reads the registry's answers about instances and allocations, entry by entry."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.core.placement.directory import Allocation, Instance
from sidecar.looma.directory.known import Allocations, Listing
from sidecar.looma.directory.members import (
    ID,
    Admission,
    RefusedEntryError,
    allocation,
    instance,
)
from sidecar.net.logs import once_a_minute

MAX_INSTANCES: Final = 20_000
MAX_ALLOCATIONS: Final = 200_000

MAX_OF_USER: Final = 100  # allocations, one for each service; placing the user looks at all of them

# Different sets of requirements: each has an order of its own of every target's instances.
MAX_REQUIREMENTS: Final = 100

_log = logging.getLogger(__name__)


class PollError(Exception):
    """No usable answer; the message is for the operator and holds no text of the answer."""


def instances_of(content: Mapping[str, Any], admission: Admission) -> Listing:
    """Return the listing in an answer of ``/cluster/services``.

    An entry that is refused is logged and counted. Raises PollError.
    """
    entries = content.get("services")
    if not isinstance(entries, list):
        raise PollError("the answer has no list of services")
    if len(entries) > MAX_INSTANCES:
        raise PollError(f"the answer has more than {MAX_INSTANCES} services")
    complete = content.get("complete") is not False
    removed = content.get("removed")
    gone = (
        {each for each in removed if isinstance(each, str)} if isinstance(removed, list) else set()
    )
    found: dict[str, Instance] = {}
    for entry in entries:
        try:
            each = instance(entry, admission)
        except RefusedEntryError as refused:
            _refuse(str(refused), entry)
            # What a change makes of an instance is not used, so the former one is not either.
            gone.update(text for text in _id(entry) if not complete)
            continue
        if each.id in found:
            _refuse("an id that another entry has", entry)
            continue
        found[each.id] = each
    refusals = len(entries) - len(found)
    return Listing(tuple(found.values()), frozenset(gone), complete, refused=refusals)


def allocations_of(content: Mapping[str, Any]) -> tuple[Allocations, int]:
    """Return the allocations in an answer of ``/cluster/allocations``, and how many are refused.

    They are by subject. Raises PollError.
    """
    entries = content.get("allocations")
    if not isinstance(entries, list) or len(entries) > MAX_ALLOCATIONS:
        raise PollError(f"no list of at most {MAX_ALLOCATIONS} allocations")
    found: dict[str, list[Allocation]] = {}
    wanted: set[object] = set()
    refusals = 0
    for entry in entries:
        try:
            subject, each = allocation(entry)
        except RefusedEntryError as refused:
            _refuse(str(refused), entry)
            refusals += 1
            continue
        if each.requirements not in wanted and len(wanted) >= MAX_REQUIREMENTS:
            _refuse(f"requirements beyond {MAX_REQUIREMENTS} different ones", entry)
            refusals += 1
            each = Allocation(each.service, each.instance, fulfillable=False)
        elif not each.fulfillable:
            _refuse("requirements that are not labels, so no instance fulfils them", entry)
            refusals += 1
        own = found.setdefault(subject, [])
        if len(own) >= MAX_OF_USER:
            _refuse(f"a user's allocations beyond {MAX_OF_USER}", entry)
            refusals += 1
            continue
        wanted.add(each.requirements)
        own.append(each)
    return {subject: tuple(own) for subject, own in found.items()}, refusals


def _id(entry: object) -> Iterator[str]:
    name = entry.get("service_id") if isinstance(entry, dict) else None
    if isinstance(name, str):
        yield name


def _refuse(reason: str, entry: object) -> None:
    """Log the first entry of a minute that is refused for a reason, by its id if that is one."""
    named = "".join(each for each in _id(entry) if ID.fullmatch(each)) or "without an id"
    text = "the registry's entry %s is not used: %s"
    _log.warning(text, named, reason, extra=once_a_minute(reason))

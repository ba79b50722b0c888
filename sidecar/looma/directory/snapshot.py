"""A directory as text, for another process or another configuration.

It has the form of Looma's membership view, and what is read back is admitted anew: networks and
services of the configuration may have changed, and the text may be hostile.
"""

import json
from typing import Any, Final

from sidecar.core.placement.directory import Directory
from sidecar.looma.directory.client import MAX_BODY_BYTES, parsed
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError, allocations_of, instances_of
from sidecar.looma.directory.members import Admission

# An address may be another pod's after this; a gateway that is down for longer has lost its users.
MAX_AGE: Final = 3600.0  # seconds

MAX_TIME: Final = 253402300800.0  # the year 10000, in seconds since the epoch


def content_of(directory: Directory) -> dict[str, Any]:
    """Return the registry's part of a directory, as Looma's answers have it."""
    services = []
    for each in directory.instances:
        address, _, port = each.address.rpartition(":")
        services.append(
            {
                "service_id": each.id,
                "service_name": each.service,
                "address": address.strip("[]"),
                "port": int(port),
                "health_status": each.health.value,
                "ready": each.ready,
                "draining": each.draining,
                "labels": dict(each.labels),
            }
        )
    allocations = [
        {
            "user_id": subject,
            "service_name": each.service,
            "service_id": each.instance,
            # Unreadable ones are so again when they are read.
            "requirements": dict(each.requirements) if each.fulfillable else "unreadable",
        }
        for subject, own in directory.allocations.items()
        for each in own
    ]
    return {"services": services, "allocations": allocations}


def listing_of(content: dict[str, Any], admission: Admission) -> Listing:
    """Return what is admitted of ``content_of``. Raises PollError."""
    listing = instances_of({"services": content.get("services")}, admission)
    found, refused = allocations_of(content)
    return listing._replace(allocations=found, refused=listing.refused + refused)


def encode(directory: Directory, registry: str, listed_at: float) -> bytes:
    """Return the text of a directory that a registry listed at a time of the wall clock.

    Raises PollError where it is too long to be read again.
    """
    content = {"registry": registry, "listed_at": listed_at, **content_of(directory)}
    text = json.dumps(content, ensure_ascii=False).encode()
    if len(text) > MAX_BODY_BYTES:
        raise PollError(f"it would be longer than {MAX_BODY_BYTES} bytes")
    return text


def decode(text: bytes, registry: str, now: float, admission: Admission) -> tuple[Listing, float]:
    """Return what is admitted, and its age in seconds. Raises PollError."""
    content = parsed(text)
    if not isinstance(content, dict):
        raise PollError("it is not a JSON object")
    if content.get("registry") != registry:
        raise PollError("it is another registry's")
    at = content.get("listed_at")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < MAX_TIME:
        raise PollError("its listed_at is not a time")
    age = now - at
    if age < 0:
        raise PollError("its listed_at is in the future; check this machine's clock")
    if age > MAX_AGE:
        raise PollError(f"it is older than {MAX_AGE:g} s")
    return listing_of(content, admission), age

"""Reads a directory from a file, to place a caller offline as a gateway does."""

import json
from pathlib import Path

from sidecar.app import gateway_wiring
from sidecar.config import Config
from sidecar.config.files import read_file
from sidecar.core.placement.directory import Directory
from sidecar.core.placement.place import Placements
from sidecar.documents.findings import BadValueError
from sidecar.looma.directory.client import MAX_BODY_BYTES
from sidecar.looma.directory.listing import PollError, allocations_of, instances_of


class DirectoryError(Exception):
    """The file is not usable, or the configuration has no gateway."""


def placements_of(path: Path, config: Config) -> Placements:
    """Return the placements of a gateway that has read the registry's answer in a file.

    The file is the JSON of ``GET /cluster/services?view=membership``, and may have the
    ``allocations`` of ``GET /cluster/allocations`` beside ``services``. Raises DirectoryError.
    """
    section = config.settings.gateway
    if section is None:
        raise DirectoryError("sidecar.yaml has no `gateway`, so no instance is chosen")
    try:
        content = json.loads(read_file(path, MAX_BODY_BYTES))
        if not isinstance(content, dict):
            raise DirectoryError(f"{path} is not a JSON object")
        listing = instances_of(content, gateway_wiring.admission(section))
        allocations = allocations_of(content)[0] if "allocations" in content else {}
    except BadValueError as error:
        raise DirectoryError(f"{path} {error}") from None
    except (ValueError, RecursionError):
        raise DirectoryError(f"{path} is not JSON") from None
    except PollError as error:
        raise DirectoryError(f"{path}: {error}") from None
    targets = {route.target for route in config.policy.routes if route.target}
    directory = Directory(listing.instances, allocations, gateway_wiring.fixed(section))
    return Placements(targets, directory, section.zone)

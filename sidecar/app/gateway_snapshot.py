"""The last directory on disk, for a gateway that starts while its registry is down."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.config.model import Looma
from sidecar.core.placement.directory import Directory
from sidecar.looma.directory.client import MAX_BODY_BYTES
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError
from sidecar.looma.directory.members import Admission
from sidecar.looma.directory.snapshot import decode, encode
from sidecar.net.logs import once_a_minute
from sidecar.zervi.snapshot_file import SnapshotFileError, read, write

SAVE_SECONDS: Final = 10.0  # between two writes: a flapping node must not keep the disk busy

_log = logging.getLogger(__name__)


class DirectoryFile:
    """``gateway.snapshot_file``, of the registry in ``looma``; read and written in threads."""

    def __init__(self, path: Path, looma: Looma) -> None:
        self._path = path
        # A URL may have a password in its path.
        self._registry = hashlib.sha256(f"{looma.kind} {looma.url}".encode()).hexdigest()

    async def load(self, admission: Admission) -> tuple[Listing, float] | None:
        """Return what is admitted and its age in seconds; None where nothing is usable."""
        return await asyncio.to_thread(self._load, admission)

    async def keep(self, state: Callable[[], tuple[Directory, float] | None]) -> None:
        """Save again and again, until the task is cancelled; ``state`` as ``save`` needs it."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save(state())

    async def save(self, state: tuple[Directory, float] | None) -> None:
        """Save a directory and its age in seconds; None: there is nothing to save."""
        if state is not None:
            await asyncio.to_thread(self._save, *state)

    def _load(self, admission: Admission) -> tuple[Listing, float] | None:
        try:
            text = read(self._path, MAX_BODY_BYTES)
            return decode(text, self._registry, time.time(), admission)
        except FileNotFoundError:
            return None
        except (OSError, SnapshotFileError, PollError) as error:
            _log.warning("gateway.snapshot_file is not used: %s", _cause(error))
            return None

    def _save(self, directory: Directory, age: float) -> None:
        try:
            write(self._path, encode(directory, self._registry, time.time() - age))
        except (OSError, PollError) as error:
            text = "gateway.snapshot_file cannot be written: %s; a gateway that starts while the"
            text += " registry is down will deny requests"
            _log.warning(text, _cause(error), extra=once_a_minute("directory-file"))


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

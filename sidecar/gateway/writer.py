"""Writes Envoy's files: each by a rename, only where it changed, at most once a second."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

_TEMPORARY = ".writing"
_MODE = 0o640  # Envoy reads them as a member of the group


class FileWriter:
    """The files of one directory, as they were written last."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[str, bytes] = {}

    def write(self, contents: Mapping[str, bytes]) -> int:
        """Write what changed, in order, and remove files of former targets; return how many.

        A file of an earlier process is replaced if it differs. Raises OSError, after which the
        files that were not written are still the former ones, and the next call writes them.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        written = 0
        for name, content in contents.items():
            if self._written.get(name, self._read(name)) != content:
                self._written.pop(name, None)
                self._replace(name, content)
                written += 1
            self._written[name] = content
        for path in self._directory.glob("endpoints-*.json"):
            if path.name not in contents:
                path.unlink(missing_ok=True)
                self._written.pop(path.name, None)
        return written

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._directory / name).read_bytes()
        except OSError:
            return None

    def _replace(self, name: str, content: bytes) -> None:
        temporary = self._directory / f"{name}{_TEMPORARY}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.rename(self._directory / name)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

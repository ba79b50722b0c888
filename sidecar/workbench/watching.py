"""Doing something again whenever files change."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

POLL_SECONDS = 0.5


def watch(do: Callable[[], Iterable[Path]], wait: Callable[[], None] | None = None) -> None:
    """Do it, wait until one of the files that it returned is another, and begin again.

    It ends by KeyboardInterrupt.
    """
    pause = wait or (lambda: time.sleep(POLL_SECONDS))
    while True:
        files = tuple(do())
        before = _stamps(files)
        while _stamps(files) == before:
            pause()


def _stamps(files: Iterable[Path]) -> list[tuple[int, int, int] | None]:
    return [_stamp(file) for file in files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size

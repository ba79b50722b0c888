"""Log lines that repeat: the first at once, then at most one a minute for the same thing."""

import asyncio
import logging

REPEAT_SECONDS = 60.0


class QuietLog:
    """Writes each kind of line at most once a minute; what is left out is counted.

    A kind is one of the few literals in the code that logs, so what is remembered stays small.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._written_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def info(self, kind: str, text: str) -> None:
        """Write a line of level info, unless one of this kind was within the last minute."""
        self._write(logging.INFO, kind, text)

    def warning(self, kind: str, text: str) -> None:
        """Write a warning, unless one of this kind was within the last minute."""
        self._write(logging.WARNING, kind, text)

    def _write(self, level: int, kind: str, text: str) -> None:
        now = asyncio.get_running_loop().time()
        written_at = self._written_at.get(kind)
        if written_at is not None and now - written_at < REPEAT_SECONDS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._written_at[kind] = now
        left_out = self._left_out.pop(kind, 0)
        more = f" ({left_out} more like it since the last such line)" if left_out else ""
        self._logger.log(level, "%s%s", text, more)

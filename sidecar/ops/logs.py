"""The operational log on standard error: text on a terminal, otherwise JSON lines."""

import json
import logging
import os
import time
from collections.abc import Callable

from sidecar.net.clock import rfc3339
from sidecar.ops import redact
from sidecar.ops.writer import LineWriter

PERIOD = 60.0  # seconds
MAX_ALIKE = 10  # different messages of one template per PERIOD
MAX_KINDS = 1024  # keys and templates remembered; more only where a start has many warnings
MAX_MESSAGE = 4096  # characters
MAX_TRACE = 16 * 1024  # characters


class LogOutput:
    """The configured log; ``close`` writes pending lines."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    @property
    def dropped(self) -> int:
        """The number of lines that were not written."""
        return self._writer.dropped

    def close(self, timeout: float = 2.0) -> None:
        """Write pending lines, for at most ``timeout`` seconds."""
        self._writer.close(timeout)


def configure_logging(level: str, *, fd: int = 2) -> LogOutput:
    """Send log records of ``level`` (a name in any case) and above to the descriptor ``fd``."""
    writer = LineWriter(fd)
    handler = _LineHandler(writer)
    handler.setFormatter(TextFormatter() if os.isatty(fd) else JsonFormatter())
    handler.addFilter(RateLimited())
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(handler)
    set_level(level)
    logging.captureWarnings(capture=True)
    return LogOutput(writer)


def set_level(level: str) -> None:
    """Log records of ``level`` and above from now on."""
    logging.getLogger().setLevel(level.upper())


class JsonFormatter(logging.Formatter):
    """One JSON object per line, only ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        line = {
            "time": rfc3339(record.created, "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact.text(_message(record), MAX_MESSAGE),
        }
        if record.exc_info:
            line["exception"] = redact.text(self.formatException(record.exc_info), MAX_TRACE)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """``12:30:01 WARNING zervi: message``; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        message = _escaped(redact.text(_message(record), MAX_MESSAGE))
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{at} {record.levelname:<7} {record.name.removeprefix('sidecar.')}: {message}"
        if record.exc_info:
            trace = redact.text(self.formatException(record.exc_info), MAX_TRACE)
            line = "\n".join([line, *(_escaped(part) for part in trace.split("\n"))])
        return line


class RateLimited(logging.Filter):
    """Writes the same line at most once per ``PERIOD``; the next one says how many were left out.

    A record with a key (``once_a_minute``) is limited by its logger and key. Of other warnings and
    errors with the same logger and template, ``MAX_ALIKE`` different ones pass per ``PERIOD``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, str, bool], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide whether a record passes."""
        key: str | None = getattr(record, "limit_key", None)
        if key is None and record.levelno < logging.WARNING:
            return True
        now = self._clock()
        name = (record.name, str(record.msg) if key is None else key, key is None)
        kind = self._kinds.get(name)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
            kind = self._kinds[name] = _Kind()
        message = _message(record)
        kind.shown = {text: at for text, at in kind.shown.items() if now - at < PERIOD}
        if message in kind.shown or len(kind.shown) >= (MAX_ALIKE if key is None else 1):
            kind.left_out += 1
            return False
        kind.shown[message] = now
        if kind.left_out:
            record.msg, record.args = f"{message} ({kind.left_out} more like this left out)", ()
            kind.left_out = 0
        return True


class _Kind:
    """When each message of one key or template was written; how many were left out since."""

    __slots__ = ("left_out", "shown")

    def __init__(self) -> None:
        self.shown: dict[str, float] = {}
        self.left_out = 0


class _LineHandler(logging.Handler):
    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.put(self.format(record).encode("utf-8", "backslashreplace") + b"\n")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 -- a log call with unfit arguments must not fail its caller
        return str(record.msg)


def _escaped(value: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in value)

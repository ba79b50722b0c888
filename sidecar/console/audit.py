"""One line on standard output for each change: who, what, when, and how it ended."""

import json
import time
from typing import Any

from sidecar.console.caller import Caller
from sidecar.net.clock import rfc3339
from sidecar.ops.writer import LineWriter


class Audit:
    """Writes audit lines."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def line(
        self, action: str, by: Caller | None, on: str, result: str, request_id: str = ""
    ) -> None:
        """Write a line. ``by`` is None for a login; ``on`` is what the action changes."""
        entry: dict[str, Any] = {
            "time": rfc3339(time.time(), "milliseconds"),
            "audit": action,
            "by": None if by is None else by.as_json(),
            "on": on,
            "result": result,
            "request_id": request_id,
        }
        self._writer.put(json.dumps(entry).encode() + b"\n")

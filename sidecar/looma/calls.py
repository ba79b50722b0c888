"""What one HTTP call to a registry or to Zervi is, whoever makes it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from sidecar.looma.registry import Failed

CALL_SECONDS = 2.0  # connecting, sending and the whole answer
MAX_BODY_BYTES = 64 * 1024  # the answers that are understood are below 1 KiB


class Answer(NamedTuple):
    """An answer; ``body`` is None where it was longer than we read.

    ``retry_after`` is in seconds, None where the answer names no such time.
    """

    status: int
    body: bytes | None = b""
    retry_after: float | None = None

    def json(self) -> Any:
        """Return the body as JSON, None where it is none."""
        try:
            return json.loads(self.body or b"")
        except (ValueError, RecursionError):
            return None


class Caller(Protocol):
    """Whatever can make such a call: a socket, or what stands for it."""

    async def __call__(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Failed:
        """Send ``body`` as JSON where there is one; return the answer, or why there is none."""

"""One request and its answer on a connection."""

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.transport.h2.rpc import Head


@dataclass(slots=True, eq=False)
class Stream:
    """A stream (RFC 9113 5.1): open, or half-closed (remote) once it is ``complete``."""

    id: int
    head: Head
    deadline: float | None  # the caller's
    until: float  # when waiting for the peer ends; inf while it waits for us
    # The request.
    complete: bool = False
    body: bytes | bytearray | None = b""  # None: it was too large to keep
    received: int = 0  # bytes of the body
    held: int = 0  # bytes charged to the account: the body, and the work on an answer
    # The answer.
    begun: bool = False
    credit: int = 0  # its window less the peer's SETTINGS_INITIAL_WINDOW_SIZE (6.9.2)
    pending: memoryview | bytes = b""  # messages for which no window has room
    ending: bytes | None = None  # the block that ends the answer; nothing can be added after it
    cancel: Callable[[], object] | None = None  # stops the server's work on it

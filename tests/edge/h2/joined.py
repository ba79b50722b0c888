"""Our protocol on a fake transport that records what it is called with."""

import asyncio
from typing import Any

from hyperframe.frame import Frame

from sidecar.transport.h2.account import Budget
from sidecar.transport.h2.protocol import H2Protocol
from sidecar.transport.h2.turns import Turns
from sidecar.transport.interface import Methods
from tests.edge.h2.peer import ACKNOWLEDGED, UNHURRIED, frames


class Wire(asyncio.Transport):
    """A fake transport: it records writes and calls."""

    def __init__(self, alpn: str | None = None) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.reading: list[bool] = []  # resumed, paused
        self.eof = self.aborted = False
        self.high: int | None = None  # write buffer limit
        self._alpn = alpn

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "ssl_object" and self._alpn is not None else default

    def selected_alpn_protocol(self) -> str | None:
        return self._alpn

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof, "nothing is written after the end"
        self.writes.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def pause_reading(self) -> None:
        self.reading.append(False)

    def resume_reading(self) -> None:
        self.reading.append(True)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def abort(self) -> None:
        self.aborted = True

    def frames(self) -> list[Frame]:
        """Return the frames that were written since the last call."""
        written, self.writes = b"".join(self.writes), []
        return frames(written)


class Rig:
    """A protocol on such a transport."""

    def __init__(self, methods: Methods, alpn: str | None = None) -> None:
        self.wire = Wire(alpn)
        self.closed = False
        self.protocol = H2Protocol(
            methods, Budget(UNHURRIED), Turns(), lambda _: True, lambda _: self._close()
        )
        self.protocol.connection_made(self.wire)
        if not self.wire.aborted:
            self.protocol.data_received(ACKNOWLEDGED)
        self.wire.writes.clear()

    def _close(self) -> None:
        self.closed = True

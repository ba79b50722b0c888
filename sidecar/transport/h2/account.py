"""What the peers of a server cost: memory, work and control frames (see ``limits``)."""

from sidecar.transport.h2 import limits
from sidecar.transport.h2.limits import Limits
from sidecar.transport.h2.stream import Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError


class Budget:
    """The limits of a server's peers, and the bytes held for all of them."""

    def __init__(self, allowed: Limits = limits.CHECKS) -> None:
        self.limits = allowed
        self.held = 0


class Account:
    """What one connection costs, and the current time for both of its halves.

    Every byte that is charged here is charged to the server's ``budget`` too.
    """

    __slots__ = (
        "_control_frames",
        "_held",
        "_resettable",
        "_settled",
        "budget",
        "limits",
        "now",
        "work",
    )

    def __init__(self, budget: Budget, now: float) -> None:
        self.budget = budget
        self.limits = budget.limits
        self.now = now  # seconds of any one clock
        self.work = 0  # microseconds that the last frame took, except a usual call's
        self._held = 0  # bytes
        self._settled = 0  # those that are not in a stream's ``held``
        self._control_frames = 0  # see limits.MAX_CONTROL_FRAMES
        self._resettable = 0  # complete requests that have not paid for a reset

    @property
    def crowded(self) -> bool:
        """Whether the server holds more than this connection's share."""
        return self.budget.held > self.limits.share

    def room(self) -> int:
        """Return how many bytes more may be held."""
        allowed, held = self.limits, self._held
        shared = max(allowed.share - held, allowed.held - self.budget.held)
        return max(0, min(allowed.connection_held - held, shared))

    def settle(self, held: int) -> None:
        """Charge ``held`` bytes for everything that is not in a stream's ``held``."""
        self._charge(held - self._settled)
        self._settled = held

    def keep(self, stream: Stream, octets: bytes) -> None:
        """Add to a request's body, or drop the whole body where it is too large."""
        size = stream.held + len(octets)
        if size > self.limits.message or len(octets) > self.room():
            stream.body = None
            self.release(stream)
        elif stream.body is not None:
            stream.body = stream.body or bytearray()
            stream.body += octets
            stream.held = size
            self._charge(len(octets))

    def keep_waiting(self, stream: Stream) -> None:
        """Charge for a request whose answer takes time."""
        held = limits.WAITING_BYTES + stream.received
        self._charge(held - stream.held)
        stream.held = held

    def release(self, stream: Stream) -> None:
        """Stop charging for a stream."""
        self._charge(-stream.held)
        stream.held = 0

    def count(self, number: int = 1) -> None:
        """Count control frames. Raises H2ConnectionError for too many."""
        self._control_frames += number
        if self._control_frames > self.limits.control_frames:
            raise H2ConnectionError("too many control frames", ErrorCode.ENHANCE_YOUR_CALM)

    def count_request(self) -> None:
        """Count a complete request, which pays for some frames and for one reset."""
        self._resettable += 1
        if self._control_frames:
            self._control_frames = max(0, self._control_frames - limits.CONTROL_FRAMES_PER_REQUEST)

    def count_reset(self) -> None:
        """Count a peer's reset of a complete request, answered or not: that request pays for it.

        Other resets are what CVE-2023-44487 consists of.
        """
        if self._resettable:
            self._resettable -= 1
        else:
            self.count()

    def count_second(self) -> None:
        """Count a second, which pays for some frames."""
        self._control_frames = max(0, self._control_frames - limits.CONTROL_FRAMES_PER_SECOND)

    def _charge(self, octets: int) -> None:
        self._held += octets
        self.budget.held += octets

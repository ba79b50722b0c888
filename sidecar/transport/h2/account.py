"""What the peers of a server cost: memory, work and control frames (see ``limits``)."""

from sidecar.transport.h2 import limits
from sidecar.transport.h2.limits import Limits
from sidecar.transport.h2.stream import Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError


class Budget:
    """What the peers of a server may have, and the bytes that are held for all of them."""

    def __init__(self, allowed: Limits = limits.CHECKS) -> None:
        self.limits = allowed
        self.held = 0


class Account:
    """What one connection costs, and the time by which both of its halves measure.

    Every byte that is charged here is charged to the server's ``budget`` too.
    """

    __slots__ = ("_chatter", "_held", "_resettable", "_settled", "budget", "limits", "now", "work")

    def __init__(self, budget: Budget, now: float) -> None:
        self.budget = budget
        self.limits = budget.limits
        self.now = now  # seconds of any one clock
        self.work = 0  # microseconds that the last frame took beyond a usual call's
        self._held = 0  # bytes
        self._settled = 0  # those of them that no stream's ``held`` counts
        self._chatter = 0  # see limits.MAX_CHATTER
        self._resettable = 0  # complete requests that no reset was set against

    @property
    def crowded(self) -> bool:
        """Whether the server holds so much that this connection may have less than usual."""
        return self.budget.held > self.limits.share

    def room(self) -> int:
        """Return how many bytes more may be held."""
        allowed, held = self.limits, self._held
        shared = max(allowed.share - held, allowed.held - self.budget.held)
        return max(0, min(allowed.connection_held - held, shared))

    def settle(self, held: int) -> None:
        """Charge ``held`` bytes for all that no stream's ``held`` counts."""
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
        """Charge nothing more for a stream."""
        self._charge(-stream.held)
        stream.held = 0

    def count(self, number: int = 1) -> None:
        """Count frames that make no request. Raises H2ConnectionError for too many."""
        self._chatter += number
        if self._chatter > self.limits.chatter:
            raise H2ConnectionError("too many control frames", ErrorCode.ENHANCE_YOUR_CALM)

    def count_request(self) -> None:
        """Count a complete request, which pays for some frames and for one reset."""
        self._resettable += 1
        if self._chatter:
            self._chatter = max(0, self._chatter - limits.CHATTER_PER_REQUEST)

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
        self._chatter = max(0, self._chatter - limits.CHATTER_PER_SECOND)

    def _charge(self, octets: int) -> None:
        self._held += octets
        self.budget.held += octets

"""A cache of denials: equal ones differ only in their decision id."""

from collections.abc import Callable

from cachetools import LRUCache

from sidecar.core.decision import Deny
from sidecar.core.reasons import Reason
from sidecar.extauthz.envelope import Envelope
from sidecar.extauthz.memory import DENIALS, PLACE
from sidecar.net.languages import prefers_chinese

# Replaces the decision id while a denial is built. No id contains it; an answer that has it
# elsewhere is not cached.
_HOLE = "\x7f"

_Build = Callable[[Deny, Envelope | None, str], bytes]


class Denials:
    """Answers denials; ``build`` builds those that are not in the cache.

    ``listed_origin`` returns the part of a request's origin on which an answer depends.
    """

    def __init__(
        self, build: _Build, listed_origin: Callable[[Envelope], str] = lambda _: ""
    ) -> None:
        self._build = build
        self._listed_origin = listed_origin
        self._built: LRUCache[tuple[object, ...], list[bytes]] = LRUCache(DENIALS, _size_of)

    def answer(self, decision: Deny, envelope: Envelope | None, decision_id: str) -> bytes:
        """Return the same as ``build``; ``decision_id`` is ASCII."""
        if envelope is None or not decision_id:
            return self._build(decision, envelope, decision_id)
        route, verified = decision.route, decision.verified
        key = (
            decision.reason,
            None if route is None else route.index,
            None if verified is None else verified.digest,
            decision.needs,
            decision.any_of,
            prefers_chinese(envelope.first("accept-language")),
            envelope.is_grpc,
            self._listed_origin(envelope),
            len(decision_id),  # lengths are in the answer's bytes
        )
        pieces = self._built.get(key)
        if pieces is None:
            hole = _HOLE * len(decision_id)
            pieces = self._build(decision, envelope, hole).split(hole.encode())
            # The id is in the metadata, and in the body if there is one.
            if len(pieces) != (2 if decision.reason is Reason.PREFLIGHT_ANSWERED else 3):
                return self._build(decision, envelope, decision_id)
            if _size_of(pieces) <= DENIALS:
                self._built[key] = pieces
        return decision_id.encode("ascii").join(pieces)


def _size_of(pieces: list[bytes]) -> int:
    """Return the bytes of an entry: ``needs`` are in its key and in its body."""
    return 2 * (PLACE + sum(map(len, pieces)))

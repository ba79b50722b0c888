"""Answers allows: what depends only on principal and route is built once."""

import logging
import time
from typing import Final

from sidecar.core.decision import Allow
from sidecar.core.remembering import Permit, coverage, deciding_headers, remembered_for
from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import NO_ANSWERS, Answers
from sidecar.extauthz import memory, wire
from sidecar.extauthz.in_progress import joined
from sidecar.extauthz.remembering import Question
from sidecar.extauthz.respond import Responder
from sidecar.extauthz.two_generations import SizedTwoGenerationCache
from sidecar.net.clock import steady
from sidecar.net.logs import once_a_minute

_log = logging.getLogger(__name__)

_OTHER: Final = (
    "Envoy remembers requests by the headers of another configuration, so it asks about each of"
    " them: run `zervi-sidecar generate envoy --remember` again"
)


class Allows:
    """Answers allows under one snapshot; ``capacity`` is in answers."""

    def __init__(self, snapshot: Snapshot, responder: Responder, capacity: int) -> None:
        self._snapshot = snapshot
        self._responder = responder
        self._built: SizedTwoGenerationCache[tuple[object, ...], bytes] = SizedTwoGenerationCache(
            capacity, memory.ANSWERS, _size_of
        )
        self._coverage = ""  # computed for the first question of an Envoy that remembers

    def answer(self, decision: Allow, request: Request, decision_id: str) -> bytes:
        """Return the answer to a request; ``decision_id`` is ASCII."""
        added = self._responder.addendum(request, decision_id)
        verified = decision.verified
        service = decision.service
        key = (
            verified and verified.digest,
            service and service.digest,
            decision.route.index,
            decision.reason,
        )
        constant = self._built.get(key)
        if constant is None:
            constant = joined(self._responder.build(decision))
            self._built.put(key, constant)
        return joined(constant, added)

    def permission(
        self, decision: Allow, request: Request, question: Question, answers: Answers
    ) -> bytes:
        """Return an addition to an answer: for how long Envoy may remember it, and what it sets.

        ``answers`` are those to look-ups.
        """
        if not self._coverage:
            responder = self._responder
            deciding = deciding_headers(responder.token_sources)
            self._coverage = coverage(deciding, responder.removed)
        if question.covers != self._coverage:
            _log.warning(_OTHER, extra=once_a_minute("coverage"))
            return wire.remember(0, ())
        milliseconds, _ = self.permit(decision, request, time.time(), steady(), answers)
        identity = self._responder.identity(decision) if milliseconds else ()
        return wire.remember(milliseconds, identity)

    def permit(
        self,
        decision: Allow,
        request: Request,
        now: float,
        aged_to: float,
        answers: Answers = NO_ANSWERS,
    ) -> Permit:
        """Return for how long Envoy may remember an allow; times and answers as for ``decide``."""
        if not self._responder.is_plain(request):
            return Permit(0, "the answer changes more of the request than whole headers")
        return remembered_for(decision, request, self._snapshot, now, aged_to, answers)


def _size_of(key: tuple[object, ...], answer: bytes) -> int:  # noqa: ARG001 -- keys are alike
    return memory.PLACE + len(answer)

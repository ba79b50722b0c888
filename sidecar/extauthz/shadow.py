"""The shadow: a candidate policy decides on real requests, after their answers were sent."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar
from zlib import crc32

from sidecar.core.decision import Decision, DecisionRecord, Needs, decide
from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Policy
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.lookups import NO_ANSWERS, Answers
from sidecar.core.tokens.selection import try_freely
from sidecar.core.tokens.verify import Verified
from sidecar.extauthz.token_cache import TokenCache
from sidecar.net.clock import steady
from sidecar.net.logs import fault_place

MAX_KINDS = 1000  # of differences, each logged once: a candidate may differ on every route

_Kind = tuple[str, Reason, str, Reason]  # the route and the reason, of the policy and the candidate
_Default = TypeVar("_Default")

_log = logging.getLogger(__name__)


class Shadow:
    """Compares a candidate policy's decisions with those made, and logs the differences.

    ``percent`` of the requests are compared, chosen by decision id, so the same by every sidecar.
    ``count`` gets the route's name (empty where none matched) and both reasons of each difference.
    No answer depends on it.
    """

    def __init__(self, percent: int, count: Callable[[str, str, str], None]) -> None:
        self._percent = percent
        self._count = count
        self.take(None)

    def change(self, percent: int) -> None:
        """Compare another share of the requests from now on."""
        self._percent = percent

    def take(self, candidate: Policy | None) -> None:
        """Compare this candidate from now on, with new counts; None: no candidate."""
        self._candidate = candidate
        self._kinds: set[_Kind] = set()
        self.compared = 0
        self.different = 0

    def compare(
        self,
        records: Sequence[DecisionRecord],
        snapshot: Snapshot,
        verified: TokenCache,
        answers: Answers = NO_ANSWERS,
    ) -> None:
        """Compare the candidate with these decisions; never raises.

        ``snapshot``, ``verified`` and ``answers`` are those of current decisions; none is changed.
        """
        candidate = self._candidate
        if candidate is None:
            return
        shadow = snapshot._replace(policy=candidate)
        now = steady()
        for record in records:
            if record.request is None or record.decision.reason.is_failure:
                continue
            if record.policy_digest != snapshot.policy.digest:  # replaced since the decision
                continue
            if crc32(record.decision_id.encode()) % 100 >= self._percent:
                continue
            try:
                known = _Known(record.decision, verified)
                decision = decide(
                    *(record.request, shadow, known, record.time, now),
                    *(None, try_freely, answers),
                )
                if not isinstance(decision, Needs):  # nothing is looked up for a candidate
                    self._note(record, decision)
            except Exception as error:  # noqa: BLE001 -- must not disturb the service
                self._fail(record, error)

    def _note(self, record: DecisionRecord, decision: Decision) -> None:
        self.compared += 1
        active = record.decision
        kind = (_route(active), active.reason, _route(decision), decision.reason)
        if kind[:2] == kind[2:] and type(active) is type(decision):
            return
        self.different += 1
        self._count(kind[0], kind[1], kind[3])
        if kind in self._kinds or len(self._kinds) >= MAX_KINDS:
            return
        self._kinds.add(kind)
        _log.info(
            "shadow: route %s says %s where the candidate's route %s says %s; first: decision %s",
            *(part or "(none)" for part in kind),
            record.decision_id,
        )

    def _fail(self, record: DecisionRecord, error: Exception) -> None:
        """Count a failure; the log shows the same warning once a minute."""
        _log.warning("the shadow failed inside: %s", fault_place(error))
        self._count(_route(record.decision), record.decision.reason, Reason.INTERNAL)


class _Known(dict[bytes, Verified]):
    """The decision's result for its token, so that no signature is verified a second time.

    If the decision did not read the token, the cache of verified tokens is searched. Tokens that
    the candidate verifies are dropped with this object.
    """

    def __init__(self, decision: Decision, verified: TokenCache) -> None:
        super().__init__()
        self._decision = decision
        self._verified = verified

    def get(self, digest: bytes, default: _Default = None) -> Verified | _Default:  # type: ignore[assignment]  # -- the stub's overloads say the same at length
        """Return the verified token. Raises TokenError if the decision refused it."""
        decision = self._decision
        service = decision.service
        for known in (decision.verified, service):
            if known is not None and known.digest == digest:
                return known
        if decision.reason.refuses_token:
            raise TokenError(decision.reason, "refused before")
        return super().get(digest) or self._verified.peek(digest) or default


def _route(decision: Decision) -> str:
    return "" if decision.route is None else decision.route.name

"""The Check service: bytes in, bytes out, never an error.

To Envoy an exception, an abort or a gRPC status is an error, which `failure_mode_allow` turns into
an allow. So the answer is always a CheckResponse: a denial if anything fails.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import uuid4

from sidecar.core.decision import (
    Allow,
    Decision,
    DecisionRecord,
    Deny,
    MemoryUse,
    Needs,
    decide,
    settle,
    still_valid,
)
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import NO_ATTEMPTS, Attempts
from sidecar.core.traced import Traced
from sidecar.core.validity import validity
from sidecar.extauthz.allows import Allows
from sidecar.extauthz.asking import NO_LOOK_UPS, Asking, Begun, KeySource, LookUps
from sidecar.extauthz.bounds import CheckProblem, MalformedCheckError
from sidecar.extauthz.denials import Denials
from sidecar.extauthz.envelope import Envelope, is_sane, open_envelope, peer_info, read_outline
from sidecar.extauthz.guard import Guard
from sidecar.extauthz.in_progress import (
    CheckInProgress,
    ServiceSettings,
    joined,
    token_rules,
)
from sidecar.extauthz.remembering import read_question
from sidecar.extauthz.repeats import Repeat, RepeatKey, Repeats, identify, of_peer
from sidecar.extauthz.respond import Responder
from sidecar.extauthz.shadow import Shadow
from sidecar.extauthz.token_cache import TokenCache
from sidecar.extauthz.try_budget import TryBudget
from sidecar.net.clock import SINCE_EPOCH, steady
from sidecar.net.logs import fault_place
from sidecar.transport.interface import Methods

CHECK = "/envoy.service.auth.v3.Authorization/Check"

_log = logging.getLogger(__name__)


class CheckService:
    """Answers Checks by the current snapshot.

    ``record`` gets the decisions of one turn of the event loop together, after their answers were
    handed over; ``defer`` (the loop's ``call_soon``) schedules that. ``shadow`` then compares the
    decisions of a candidate policy.
    """

    _asks: type[Asking] = Asking

    def __init__(
        self,
        snapshot: Snapshot,
        responder: Responder,
        keys: KeySource,
        record: Callable[[Sequence[DecisionRecord]], None],
        defer: Callable[[Callable[[], None]], object],
        settings: ServiceSettings,
        shadow: Shadow | None = None,
        lookups: LookUps = NO_LOOK_UPS,
    ) -> None:
        self._responder = responder
        self._record = record
        self._defer = defer
        self._settings = settings
        self._shadow = shadow
        self._lookups = lookups
        self._tries = TryBudget().tries
        key_wait = settings.unknown_key_wait
        self._asking = self._asks(keys, lookups, self._decision, self._settle, key_wait)
        self._forget_tokens()
        self._internal = responder.build(Deny(Reason.INTERNAL))
        self._unrecorded: list[DecisionRecord] = []
        self._traced: Traced | None = None  # of the decision that is recorded now
        self.swap(snapshot)

    @property
    def cached_tokens(self) -> int:
        """How many verified tokens are held."""
        return len(self._verified)

    @property
    def cached_token_bytes(self) -> int:
        """Their size in bytes."""
        return self._verified.bytes

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot."""
        return self._snapshot

    def swap(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on; answers of the old one are dropped."""
        self._snapshot = snapshot
        self._with_peer = snapshot.names_callers
        self._responder = self._responder.under(snapshot.policy)
        self._allows = Allows(snapshot, self._responder, self._settings.cached_tokens)
        self._denials = Denials(self._responder.build, self._responder.listed_origin)
        self._repeats = Repeats(self._settings.cached_tokens)

    def reload(
        self,
        snapshot: Snapshot,
        responder: Responder,
        settings: ServiceSettings,
        shadow: Shadow | None,
        lookups: LookUps = NO_LOOK_UPS,
    ) -> None:
        """Decide and answer by another configuration from now on.

        Verified tokens are dropped if a rule for tokens changed: issuers, secrets, claims, headers.
        """
        self._deliver()  # the shadow compares them with what they were decided by
        before = self._snapshot, self._settings
        self._responder, self._settings, self._shadow = responder, settings, shadow
        self._lookups = lookups
        if token_rules(snapshot, settings) != token_rules(*before):
            self._forget_tokens()
            self._tries = TryBudget().tries  # it counts by issuers' places
        self._asking.reload(settings.unknown_key_wait, lookups)
        self.swap(snapshot)

    def _forget_tokens(self) -> None:
        self._verified = TokenCache(self._settings.cached_tokens, self._settings.cached_bytes)

    def methods(self) -> Methods:
        """Return the methods for a transport."""
        too_large = Deny(Reason.MALFORMED_REQUEST, needs=(CheckProblem.TOO_LARGE,))
        guard = Guard(self.check, self._internal)
        return Methods({CHECK: guard.answer}, {}, {CHECK: self._responder.build(too_large)})

    def check(self, message: bytes, deadline: float | None = None) -> bytes | Awaitable[bytes]:
        """Answer one Check, awaitable where a look-up has to be waited for; never raises.

        ``deadline`` is seconds of ``time.monotonic()``.
        """
        started = time.monotonic()
        key = None
        try:
            identified = identify(message)
            if identified is not None and (deadline is None or started < deadline):
                key, own_id = identified
                if self._with_peer:
                    key = of_peer(key, message)
                answer = self._repeat(message, started, key, own_id)
                if answer is not None:
                    return answer
        except Exception as error:  # noqa: BLE001 -- an exception may be an allow to Envoy
            return self._fail(CheckInProgress(message, started, deadline), error)
        return self._judge(CheckInProgress(message, started, deadline), key)

    def _repeat(
        self, message: bytes, started: float, key: RepeatKey, own_id: bytes
    ) -> bytes | None:
        """Answer a repetition of an allowed request, None where a decision is needed."""
        repeat = self._repeats.get(key)
        if repeat is None or not is_sane(own_id):
            return None
        now = time.time()
        decision = repeat.decision
        aged_to = started + SINCE_EPOCH
        since, until, aged_since, aged_until = repeat.validity
        if not (
            since <= now < until
            and aged_since <= aged_to < aged_until
            and repeat.snapshot is self._snapshot
            and repeat.changes == self._lookups.changes
        ):
            # Only True is valid.
            if still_valid(decision, self._snapshot, now, aged_to, self._lookups) is not True:
                self._repeats.drop(key)
                return None
            self._look_later(repeat, aged_to)
        cached = None if decision.verified is None else True
        decision_id = own_id.decode("ascii")
        # Arguments by position: by name they cost twice as much.
        self._record_later(
            now, message, started, decision_id, decision, repeat.request, cached, None
        )
        return repeat.before_id + own_id + repeat.after_id

    def _look_later(self, repeat: Repeat, aged_to: float) -> None:
        """Note for how long an allow that is still valid need not be looked at again."""
        snapshot, lookups = self._snapshot, self._lookups
        repeat.snapshot, repeat.changes = snapshot, lookups.changes
        repeat.validity = validity(repeat.decision, snapshot, aged_to, lookups.peeking)

    def _judge(self, check: CheckInProgress, key: RepeatKey | None) -> bytes | Awaitable[bytes]:
        try:
            try:
                outline = read_outline(check.message)
                envelope = open_envelope(outline, self._with_peer)
                if outline.metadata_context:
                    check.question = read_question(outline.metadata_context)
            except MalformedCheckError as error:
                check.decision_id = uuid4().hex
                return self._answer(check, Deny(Reason.MALFORMED_REQUEST, needs=(error.problem,)))
            return self._decide(check, envelope, key)
        except Exception as error:  # noqa: BLE001 -- an exception may be an allow to Envoy
            return self._fail(check, error)

    def _decide(
        self, check: CheckInProgress, envelope: Envelope, key: RepeatKey | None
    ) -> bytes | Awaitable[bytes]:
        check.decision_id = envelope.request_id or uuid4().hex
        check.envelope = envelope
        if check.deadline is not None and check.started >= check.deadline:
            return self._answer(check, Deny(Reason.OVERLOADED, detail="the deadline had passed"))
        verified = self._verified
        verified.hit = None
        decision = self._decision(envelope.request, NO_ATTEMPTS, check.started + SINCE_EPOCH)
        check.cached = verified.hit
        if isinstance(decision, Needs):
            begun = self._asking.begin(envelope.request, decision)
            if not isinstance(begun, Deny):
                return self._wait(check, envelope.request, decision, begun)
            decision = begun
        answer = self._answer(check, decision)
        if isinstance(decision, Allow) and key is not None and check.question is None:
            self._repeats.note(key, check.message, envelope, decision, answer)
        return answer

    def _decision(
        self, request: Request, attempts: Attempts = NO_ATTEMPTS, now: float | None = None
    ) -> Decision | Needs:
        aged_to = steady() if now is None else now
        known, tries, lookups = self._verified, self._tries, self._lookups
        snapshot, wall = self._snapshot, time.time()
        return decide(request, snapshot, known, wall, aged_to, None, tries, lookups, attempts)

    def _settle(self, request: Request, needs: Needs, fetched: bool) -> Deny:
        return settle(needs, request, self._snapshot, steady(), fetched=fetched)

    async def _wait(
        self, check: CheckInProgress, request: Request, needs: Needs, begun: Begun
    ) -> bytes:
        try:
            decision = await self._decided(check, request, needs, begun)
            return self._answer(check, decision)
        except Exception as error:  # noqa: BLE001 -- an exception may be an allow to Envoy
            return self._fail(check, error)

    async def _decided(
        self, check: CheckInProgress, request: Request, needs: Needs, begun: Begun
    ) -> Decision:
        return await self._asking.decided(request, needs, begun, check.deadline)

    def _answer(self, check: CheckInProgress, decision: Decision) -> bytes:
        if isinstance(decision, Allow) and check.envelope is not None:
            answer = self._allows.answer(decision, check.envelope.request, check.decision_id)
            if check.question is not None:
                answer += self._allows.permission(
                    decision, check.envelope.request, check.question, self._lookups.peeking
                )
        elif isinstance(decision, Deny):
            answer = joined(self._denials.answer(decision, check.envelope, check.decision_id))
        else:
            answer = joined(self._responder.build(decision, check.envelope, check.decision_id))
        self._remember(check, decision)
        return answer

    def _fail(self, check: CheckInProgress, error: Exception) -> bytes:
        """Deny, whatever else fails; unlike the guard, with a record."""
        _log.error("a Check failed inside and was denied: %s", fault_place(error))
        denial = Deny(Reason.INTERNAL, detail=type(error).__name__)
        check.decision_id = check.decision_id or uuid4().hex
        try:
            self._remember(check, denial)
            return joined(self._responder.build(denial, check.envelope, check.decision_id))
        except Exception:  # noqa: BLE001 -- what failed may be just these
            return self._internal

    def _remember(self, check: CheckInProgress, decision: Decision) -> None:
        request = check.envelope and check.envelope.request
        self._record_later(
            time.time(),
            check.message,
            check.started,
            check.decision_id,
            decision,
            request,
            check.cached,
            None if check.question is None else check.question.memory_use,
        )

    def _record_later(
        self,
        now: float,
        message: bytes,
        started: float,
        decision_id: str,
        decision: Decision,
        request: Request | None,
        cached: bool | None,
        memory_use: MemoryUse | None,
    ) -> None:
        self._unrecorded.append(
            tuple.__new__(
                DecisionRecord,  # its own constructor takes twice as long
                (
                    now,
                    time.monotonic() - started,
                    decision_id,
                    decision,
                    request,
                    self._snapshot.policy.digest,  # another one may be active when it is recorded
                    cached,
                    partial(peer_info, message),
                    self._traced,
                    memory_use,
                ),
            )
        )
        if len(self._unrecorded) == 1:
            self._defer(self._deliver)

    def _deliver(self) -> None:
        records, self._unrecorded = self._unrecorded, []
        self._record(records)
        if self._shadow is not None:
            self._shadow.compare(records, self._snapshot, self._verified, self._lookups.peeking)

"""What Checks ask from outside, and for how long they wait for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from sidecar.core.decision import Decision, Deny, Needs
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.tokens.lookups import (
    Answer,
    Answers,
    Attempts,
    Ended,
    LookUp,
    NeedsKey,
    NeedsPermissions,
    NeedsVerdict,
    Question,
)

ANSWER_MARGIN_SECONDS = 0.03  # before the caller's deadline, so that the answer arrives in time
MAX_WAITING = 1000  # Checks that wait for a look-up; more are denied, so that memory stays bounded
MAX_QUESTIONS = 16  # of one Check: two tokens have six, and a reload lets them be asked again

Begun: TypeAlias = Awaitable[Ended | bool] | Ended
"""A look-up under way, or its end; of a key set, a boolean says whether it was fetched."""


class KeySource(Protocol):
    """Fetches a key set on demand."""

    def refresh_for(self, issuer: int, kid: str | None) -> Awaitable[bool] | bool:
        """Refresh an issuer's keys.

        True: a valid set was fetched now or shortly before; False: none could be fetched.
        """


class LookUps(Answers, Protocol):
    """Looks up permissions and verdicts; a use may renew an answer."""

    changes: int
    """Raised when an answer replaces one with another value, and for other sources."""

    @property
    def peeking(self) -> Answers:
        """The same answers; reading them renews none."""

    def ask(self, question: LookUp, token: bytes) -> Awaitable[Ended] | Ended:
        """Ask, once for all who wait; ``token`` is the one that a verdict is about."""

    def patience(self, question: LookUp) -> float:
        """Return for how many seconds a request may wait for the answer."""


class _NoLookUps:
    """Where nothing is looked up."""

    changes = 0

    @property
    def peeking(self) -> Answers:
        return self

    def get(self, _question: LookUp, /) -> Answer | None:
        return None

    def ask(self, question: LookUp, token: bytes) -> Ended:  # noqa: ARG002 -- a protocol's method
        return Ended.FAILED

    def patience(self, question: LookUp) -> float:  # noqa: ARG002 -- as above
        return 0.0


NO_LOOK_UPS: Final[LookUps] = _NoLookUps()


class Asking:
    """Asks what decisions need, and has them made again until nothing more has to be asked.

    ``decide`` decides on a request after these attempts, ``settle`` where a key was asked for in
    vain. ``key_wait`` is in seconds.
    """

    def __init__(
        self,
        keys: KeySource,
        lookups: LookUps,
        decide: Callable[[Request, Attempts], Decision | Needs],
        settle: Callable[[Request, Needs, bool], Deny],
        key_wait: float,
    ) -> None:
        self._keys = keys
        self._lookups = lookups
        self._decide = decide
        self._settle = settle
        self._key_wait = key_wait
        self._reloads = 0
        self._waiting = 0

    def reload(self, key_wait: float, lookups: LookUps) -> None:
        """Ask by another configuration from now on: its sources may have other answers."""
        self._key_wait = key_wait
        self._lookups = lookups
        self._reloads += 1

    def begin(self, request: Request, needs: Needs) -> Deny | Begun:
        """Ask what a decision needs; return who waits for it, or the denial without a wait."""
        if self._waiting >= MAX_WAITING:
            return Deny(Reason.OVERLOADED, needs.route, detail="too many requests wait for answers")
        ended = self._ask(needs)
        if isinstance(needs.question, NeedsKey) and isinstance(ended, Ended):
            # To decide again would lead to the same.
            return self._settle(request, needs, ended is Ended.ANSWERED)
        return ended

    async def decided(
        self, request: Request, needs: Needs, ended: Begun, deadline: float | None
    ) -> Decision:
        """Return the decision once each question that it needs was asked, and has its end.

        ``ended`` is the result of ``begin``. ``deadline`` is in seconds of ``time.monotonic()``;
        all waits end shortly before it.
        """
        attempts: dict[Question, Ended] = {}
        self._waiting += 1
        try:
            for _ in range(MAX_QUESTIONS):
                reloads = self._reloads
                if not isinstance(ended, Ended):
                    ended = await self._end_of(ended, needs.question, deadline)
                if reloads == self._reloads:
                    attempts[_named(needs.question)] = ended
                else:
                    attempts.clear()
                decision = self._decide(request, attempts)
                if not isinstance(decision, Needs):
                    return decision
                question = _named(decision.question)
                if question in attempts:
                    return self._settle(request, decision, attempts[question] is Ended.ANSWERED)
                needs, ended = decision, self._ask(decision)
            return Deny(Reason.NOT_READY, needs.route, detail="the request takes too many look-ups")
        finally:
            self._waiting -= 1

    def _ask(self, needs: Needs) -> Begun:
        question = needs.question
        if isinstance(question, NeedsPermissions | NeedsVerdict):
            return self._lookups.ask(question, needs.token)
        if not isinstance(question, NeedsKey):  # else a second decision could allow
            raise TypeError("not a question")
        fetched = self._keys.refresh_for(question.issuer, question.kid)
        return fetched if isinstance(fetched, Awaitable) else _ended(fetched)

    async def _end_of(
        self, ended: Awaitable[Ended | bool], question: Question, deadline: float | None
    ) -> Ended:
        if isinstance(question, NeedsKey):
            patience = self._key_wait
        else:
            patience = self._lookups.patience(question)
        if deadline is not None:
            patience = min(patience, deadline - ANSWER_MARGIN_SECONDS - time.monotonic())
        try:
            async with asyncio.timeout(max(patience, 0)):
                end = await ended
                return end if isinstance(end, Ended) else _ended(end)
        except TimeoutError:
            return Ended.FAILED


def _named(question: Question) -> Question:
    """Return the question as attempts name it: after a first key set, a key is the same one."""
    return question._replace(first=False) if isinstance(question, NeedsKey) else question


def _ended(fetched: bool) -> Ended:
    return Ended.ANSWERED if fetched is True else Ended.FAILED  # only True counts

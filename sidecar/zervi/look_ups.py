"""All look-ups of a sidecar: each question goes to its source, and sources survive reloads."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

from sidecar.core.tokens.lookups import Answer, Answers, Ended, LookUp, NeedsPermissions
from sidecar.net.clock import steady
from sidecar.zervi.asking import Asking, Fetch, Key, Pace
from sidecar.zervi.look_up import (
    PermissionsLookUp,
    PermissionsSource,
    VerdictLookUp,
    VerdictSource,
)

PERMISSIONS = "permissions"

OnLookUp = Callable[[str, str, str], None]


class LookUps:
    """The look-ups of the configured sources.

    ``on_look_up(name, result, detail)`` is called after each look-up: ``name`` is ``permissions``,
    or ``introspection:`` with the issuer's name, ``result`` one of ``asking.RESULTS``.
    A source that stays when others are taken keeps its answers.
    """

    def __init__(
        self,
        *,
        on_look_up: OnLookUp,
        clock: Callable[[], float] = steady,
        random: Random | None = None,
    ) -> None:
        self._on_look_up = on_look_up
        self._clock = clock
        self._random = random
        self._permissions: PermissionsSource | None = None
        self._verdicts: Sequence[VerdictSource | None] = ()
        self._users: Asking[str] | None = None
        self._tokens: dict[VerdictSource, Asking[bytes]] = {}
        self._by_issuer: list[Asking[bytes] | None] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.peeking: Answers = _Peeking(self)
        self.changes = 0

    def take(
        self, permissions: PermissionsSource | None, verdicts: Sequence[VerdictSource | None]
    ) -> None:
        """Ask these sources from now on; ``verdicts`` are in the order of the issuers."""
        self.changes += 1  # answers of another source
        if permissions != self._permissions:
            if self._users is not None:
                self._close_later(self._users)
            self._users = None
            if permissions is not None:
                pace = Pace(permissions.ttl, permissions.max_stale)
                fetch = PermissionsLookUp(permissions)
                self._users = self._asking(PERMISSIONS, fetch, pace)
        for former in self._tokens.keys() - set(verdicts):
            self._close_later(self._tokens.pop(former))
        for source in verdicts:
            if source is not None and source not in self._tokens:
                name, pace = verdict_name(source.issuer), Pace(source.ttl, source.max_stale)
                fetch_verdict = VerdictLookUp(source)
                self._tokens[source] = self._asking(name, fetch_verdict, pace)
        self._permissions, self._verdicts = permissions, tuple(verdicts)
        self._by_issuer = [source and self._tokens[source] for source in verdicts]

    def get(self, question: LookUp, /) -> Answer | None:
        """Return the latest answer; a use shortly before its end begins the next look-up."""
        if isinstance(question, NeedsPermissions):
            return None if self._users is None else self._users.get(question.subject)
        source = self._by_issuer[question.issuer]
        return None if source is None else source.get(question.digest)

    def peek(self, question: LookUp) -> Answer | None:
        """Return the latest answer; nothing is asked."""
        if isinstance(question, NeedsPermissions):
            return None if self._users is None else self._users.peek(question.subject)
        source = self._by_issuer[question.issuer]
        return None if source is None else source.peek(question.digest)

    def ask(self, question: LookUp, token: bytes) -> Awaitable[Ended] | Ended:
        """Ask, once for all who wait."""
        if isinstance(question, NeedsPermissions):
            return Ended.FAILED if self._users is None else self._users.ask(question.subject)
        source = self._by_issuer[question.issuer]
        return Ended.FAILED if source is None else source.ask(question.digest, token)

    def patience(self, question: LookUp) -> float:
        """Return for how many seconds a request may wait for the answer."""
        if isinstance(question, NeedsPermissions):
            return 0.0 if self._permissions is None else self._permissions.wait
        source = self._verdicts[question.issuer]
        return 0.0 if source is None else source.wait

    def sizes(self) -> dict[str, tuple[int, int, int]]:
        """Return the number of answers, their bytes, and how many are stale, by source."""
        return {name: asking.size for name, asking in self._named()}

    def failing(self) -> dict[str, bool]:
        """Return by source whether its last look-ups failed, several in a row."""
        return {name: asking.failing for name, asking in self._named()}

    async def close(self) -> None:
        """Cancel every look-up."""
        await asyncio.gather(*(asking.close() for _, asking in self._named()), *self._closing)

    def _named(self) -> list[tuple[str, Asking[str] | Asking[bytes]]]:
        users = [] if self._users is None else [(PERMISSIONS, self._users)]
        tokens = [(verdict_name(source.issuer), each) for source, each in self._tokens.items()]
        return [*users, *tokens]

    def _asking(self, name: str, fetch: Fetch[Key], pace: Pace) -> Asking[Key]:
        return Asking(
            *(name, fetch, pace),
            on_result=partial(self._on_look_up, name),
            on_change=self._changed,
            clock=self._clock,
            random=self._random,
        )

    def _changed(self) -> None:
        self.changes += 1

    def _close_later(self, asking: Asking[str] | Asking[bytes]) -> None:
        task = asyncio.get_running_loop().create_task(asking.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Peeking:
    """The answers; reading them renews none."""

    def __init__(self, lookups: LookUps) -> None:
        self._lookups = lookups

    def get(self, question: LookUp, /) -> Answer | None:
        return self._lookups.peek(question)


def verdict_name(issuer: str) -> str:
    """Return what metrics and health call the introspection of an issuer."""
    return f"introspection:{issuer}"

"""What a decision asks for from outside, and the answers to it, as plain values.

``decide`` returns the question that it lacks an answer to. The service asks, and decides again.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from sidecar.core.reasons import Reason
from sidecar.core.tokens.errors import TokenError

MAX_SUBJECT_CHARS: Final = 256
"""Of a subject that is asked about: UUIDs, e-mail addresses and SPIFFE ids are shorter."""


class NeedsKey(NamedTuple):
    """The issuer's key set lacks the token's key; a fresh key set may have it.

    ``issuer`` is the issuer's index in the snapshot. ``first`` says that it has no key set yet, so
    that no token can be refused.
    """

    issuer: int
    kid: str | None
    first: bool = False


class NeedsPermissions(NamedTuple):
    """What a user with this subject may do (``zervi.permissions``)."""

    subject: str


class NeedsVerdict(NamedTuple):
    """Whether a token is active (``introspection`` of an issuer, by its index in the snapshot).

    ``digest`` is the token's SHA-256.
    """

    issuer: int
    digest: bytes


LookUp: TypeAlias = NeedsPermissions | NeedsVerdict
"""A question whose answers are remembered."""

Question: TypeAlias = NeedsKey | LookUp


class PermissionRule(NamedTuple):
    """Whose permissions are looked up: users whose token does not list any; ``always``: all users.

    Only for tokens of ``issuers``, their names; empty: of every issuer.
    """

    always: bool = False
    issuers: frozenset[str] = frozenset()


class TokenShape(NamedTuple):
    """Which opaque tokens are asked about; ``characters`` is None for all visible ones."""

    prefix: bytes = b""
    min_length: int = 1
    max_length: int | None = None
    characters: frozenset[int] | None = None

    def fits(self, token: bytes) -> bool:
        """Say whether a token has this shape."""
        if not token.startswith(self.prefix) or len(token) < self.min_length:
            return False
        if self.max_length is not None and len(token) > self.max_length:
            return False
        if self.characters is not None:
            return self.characters.issuperset(token)
        return all(0x21 <= code <= 0x7E for code in token)  # RFC 6749, A.12, without space


class Introspection(NamedTuple):
    """That an issuer says whether its tokens are active; ``always``: of its JWTs too."""

    always: bool = False
    shape: TokenShape = TokenShape()


class Granted(NamedTuple):
    """A user's permissions, as the answer lists them; ``roles`` is None where it has none."""

    permissions: tuple[str, ...]
    roles: tuple[str, ...] | None = None


class Answer(NamedTuple):
    """An answer to a look-up.

    ``value`` is ``Granted`` for permissions; for a verdict it holds the claims of an active token,
    None for another one. ``mark`` differs between two answers whose values differ. Times are of the
    steady clock, in seconds: from ``fresh_until`` the answer counts only if no newer one can be
    had, from ``stale_until`` not at all.
    """

    value: Granted | Mapping[str, Any] | None
    mark: bytes
    fresh_until: float
    stale_until: float


class Ended(Enum):
    """How a look-up ended, for one request that waited for it."""

    ANSWERED = auto()
    FAILED = auto()
    OVERLOADED = auto()


class Answers(Protocol):
    """The remembered answers; a dict in tests."""

    def get(self, question: LookUp, /) -> Answer | None:
        """Return the latest answer, None if there is none."""


Attempts: TypeAlias = Mapping[Question, Ended]
"""The questions that were asked for one request, and how that ended."""


class _Nothing:
    def get(self, _question: LookUp, /) -> None:
        return None


NO_ANSWERS: Final[Answers] = _Nothing()
NO_ATTEMPTS: Final[Attempts] = {}


def answered(
    question: LookUp, answers: Answers, attempts: Attempts, steady: float
) -> Answer | None:
    """Return the answer that counts at ``steady``; None: the question has to be asked.

    Raises TokenError: not_ready or overloaded where it was asked for this request, and no answer
    can be used.
    """
    answer = answers.get(question)
    if answer is not None and steady < answer.fresh_until:
        return answer
    ended = attempts.get(question)
    if ended is None:
        return None
    # The result of a look-up for this request counts, however short it is fresh.
    if answer is not None and (steady < answer.stale_until or ended is Ended.ANSWERED):
        return answer
    what = "permissions" if isinstance(question, NeedsPermissions) else "the token's state"
    if ended is Ended.OVERLOADED:
        raise TokenError(Reason.OVERLOADED, f"too many look-ups of {what} at the same time")
    raise TokenError(Reason.NOT_READY, f"Zervi did not say {what}, and no recent answer is known")

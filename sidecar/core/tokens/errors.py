"""The error for every token that is not accepted."""

from enum import StrEnum

from sidecar.core.reasons import Reason
from sidecar.core.tokens.facts import TokenFacts


class TokenProblem(StrEnum):
    """Why a token cannot be read as a JWT; clients read the text in messages.py."""

    TOO_LONG = "token_too_long"
    ENCRYPTED = "token_encrypted"
    OPAQUE = "token_opaque"


class TokenError(Exception):
    """A token is not accepted, or (``not_ready``) cannot be verified now.

    ``detail`` is only for the operator's log. It names the rule that was broken and what the
    configuration requires, and quotes nothing of the token: that is in ``facts``, which ``verify``
    sets. ``needs`` is for the client: the scheme that it must use, or a ``TokenProblem`` and
    its bound.
    """

    facts: TokenFacts | None = None

    def __init__(self, reason: Reason, detail: str, needs: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.needs = needs

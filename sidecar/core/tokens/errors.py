"""The error for every token that is not accepted."""

from enum import StrEnum
from typing import NamedTuple

from sidecar.core.reasons import Reason


class TokenProblem(StrEnum):
    """Why a token cannot be read as a JWT; clients read the text in messages.py."""

    TOO_LONG = "token_too_long"
    ENCRYPTED = "token_encrypted"
    OPAQUE = "token_opaque"


class TokenFacts(NamedTuple):
    """A token's own words and the configured issuer that they name.

    ``kid``, ``alg``, ``iss`` and ``aud`` are unverified values of any JSON type as the client sent
    them, None where the token has none or cannot be read. ``issuer`` is the name in the
    configuration, None where no issuer matches.
    """

    kid: object = None
    iss: object = None
    aud: object = None
    alg: object = None
    issuer: str | None = None

    def claimed(self) -> dict[str, object]:
        """Return the values that the token has, by name."""
        values = {"kid": self.kid, "iss": self.iss, "aud": self.aud, "alg": self.alg}
        return {name: value for name, value in values.items() if value is not None}


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

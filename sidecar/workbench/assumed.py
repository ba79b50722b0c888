"""The answers to look-ups that offline tools assume: they send no requests."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from sidecar.core.tokens.lookups import Answer, Granted, LookUp, NeedsPermissions
from sidecar.core.tokens.zervi_answers import AnswerError, permissions_in, verdict_in

_FOREVER = float("inf")


class Assumed(NamedTuple):
    """What Zervi is assumed to answer.

    ``permissions`` and ``verdict`` are JSON values of its answers; None: the permissions are those
    of the claims that count as verified, and a JWT is active. ``kind`` is that of the verdict.
    """

    permissions: object = None
    verdict: object = None
    kind: Literal["rfc7662", "zervi"] = "rfc7662"
    claimed: Granted = Granted(())

    def get(self, question: LookUp, /) -> Answer | None:
        """Return the answer; None where there is none, or it means nothing."""
        value: Granted | Mapping[str, object] | None
        try:
            if isinstance(question, NeedsPermissions):
                value = self.claimed
                if self.permissions is not None:
                    value = permissions_in(self.permissions, question.subject)
            elif self.verdict is None:
                return None
            else:
                value = verdict_in(self.verdict, self.kind)
        except AnswerError:
            return None
        return Answer(value, b"assumed", _FOREVER, _FOREVER)

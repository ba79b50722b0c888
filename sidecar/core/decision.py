"""The decision: one request, one snapshot, one answer."""

from typing import NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes import Route
from sidecar.core.tokens import Verified


class Allow(NamedTuple):
    """The request may pass; ``verified`` is None where no token was asked for."""

    reason: Reason
    route: Route
    verified: Verified | None = None


class Deny(NamedTuple):
    """The request may not pass.

    ``needs`` names what is missing (permissions, roles, methods, ...), for the client. ``detail`` is for the
    operator's log alone.
    """

    reason: Reason
    route: Route | None = None
    verified: Verified | None = None
    needs: tuple[str, ...] = ()
    detail: str = ""


Decision = Allow | Deny


class DecisionRecord(NamedTuple):
    """One decision as metrics and the decision log take it, after the answer is on its way.

    ``time`` is seconds since the epoch, ``seconds`` what the Check took. ``request`` is None where the message
    could not be read. ``cached`` says whether the token was verified before; None where no token was looked at.
    """

    time: float
    seconds: float
    decision_id: str
    decision: Decision
    request: Request | None
    policy_digest: str
    source: str = ""
    destination: str = ""
    context: tuple[tuple[str, str], ...] = ()
    cached: bool | None = None

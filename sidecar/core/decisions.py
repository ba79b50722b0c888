"""Decisions: what ``decide`` returns, and what is recorded of it."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from sidecar.core.methods import is_method
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import Route
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.errors import TokenFacts
from sidecar.core.tokens.lookups import Question
from sidecar.core.tokens.verify import Verified
from sidecar.core.traced import Traced


class Allow(NamedTuple):
    """The request may pass; ``verified`` is None where no token was needed.

    ``service`` is the token of a service that came beside a user's, where the route requires both.
    ``others`` are the tokens that the decision depends on beside ``verified``: that one, and those
    of other readings of the path. ``servers`` are the addresses
    (``ip:port``) that may serve the request, the best first; empty where Envoy chooses.
    """

    reason: Reason
    route: Route
    verified: Verified | None = None
    service: Verified | None = None
    others: tuple[Verified, ...] = ()
    servers: tuple[str, ...] = ()

    def tokens(self) -> tuple[Verified, ...]:
        """Return every token that the decision depends on."""
        return self.others if self.verified is None else (self.verified, *self.others)


class Deny(NamedTuple):
    """The request may not pass.

    ``needs`` is for the client: what is missing (permissions, roles, methods, the scheme), all of
    it or, with ``any_of``, one of it. For ``malformed_request`` it is the problem of the request
    (``PathProblem`` and its like). ``detail`` and ``facts`` (of a token that was not accepted) are
    only for the operator's log.
    """

    reason: Reason
    route: Route | None = None
    verified: Verified | None = None
    needs: tuple[str, ...] = ()
    any_of: bool = False
    detail: str = ""
    facts: TokenFacts | None = None
    service: Verified | None = None

    def of_neighbour(self) -> "Deny":
        """Explain to the operator that another route than that of the canonical path denies."""
        path = self.route.path if self.route is not None else "no route"
        return self._replace(
            detail=f"some upstreams route this path to {path}. {self.detail}".rstrip()
        )

    def named_in_query(self, method: str) -> "Deny":
        """Explain to the operator that not the request's own method is denied."""
        shown = method if is_method(method) else "an invalid method"
        return self._replace(detail=f"_method in the query names {shown}. {self.detail}".rstrip())


class Needs(NamedTuple):
    """No decision yet: it needs the answer to a question about the token, which is in ``sources``.

    ``token`` is the token itself where the question is about a verdict on it.
    """

    question: Question
    route: Route
    sources: tuple[TokenSource, ...]
    token: bytes = b""


Decision = Allow | Deny


def outcome(decision: Decision) -> Literal["allow", "deny", "answer"]:
    """Return the word for a decision in logs and metrics.

    A preflight that the sidecar answers is a denial only to Envoy: it must not reach an upstream.
    """
    if isinstance(decision, Allow):
        return "allow"
    return "answer" if decision.reason is Reason.PREFLIGHT_ANSWERED else "deny"


class PeerInfo(NamedTuple):
    """The addresses that Envoy saw for a request, and the ``context_extensions`` of its route."""

    source: str = ""
    destination: str = ""
    context: tuple[tuple[str, str], ...] = ()


class MemoryUse(NamedTuple):
    """What Envoy reports with a Check of its memory of allows (``core.remembering``).

    ``repeats`` is how often the same request was answered from memory since its last Check,
    ``routes`` how often any request was since the last Check, by route.
    """

    repeats: int = 0
    routes: tuple[tuple[str, int], ...] = ()


class DecisionRecord(NamedTuple):
    """One decision, for metrics and the decision log; recorded after the answer was sent.

    ``time`` is seconds since the epoch, ``seconds`` the duration of the Check. ``request`` is None
    where the message could not be read. ``cached`` says whether the token was verified before; None
    where no token was read. ``peer_info`` reads
    the message again, which few callers need. ``traced`` is None without ``tracing``, and where the
    caller sent no trace; ``memory_use`` is None unless Envoy remembers allows.
    """

    time: float
    seconds: float
    decision_id: str
    decision: Decision
    request: Request | None
    policy_digest: str
    cached: bool | None = None
    peer_info: Callable[[], PeerInfo] = PeerInfo
    traced: Traced | None = None
    memory_use: MemoryUse | None = None

"""Judges a logged request again, if the log contains enough for that."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import Route
from sidecar.core.snapshot import Snapshot
from sidecar.workbench.logs import UNASKED, CallerField, Logged
from sidecar.workbench.principals import PLACEHOLDER, TakenAsVerified, known, present


class New(NamedTuple):
    """What a policy decides on a logged request."""

    allowed: bool
    reason: Reason
    route: Route | None


def rejudge(logged: Logged, snapshot: Snapshot, now: float) -> New | None:
    """Return the new decision, None if the log does not contain enough for one.

    ``now`` is epoch seconds.
    """
    request, verified = logged.request, TakenAsVerified()
    if logged.principal is not None:
        verified = known(logged.principal)
        request = present(PLACEHOLDER, request, snapshot.token_sources[0])
    decision = decide(request, snapshot, verified, now)
    if not isinstance(decision, Allow | Deny):
        return None
    new = New(isinstance(decision, Allow), decision.reason, decision.route)
    if of_claims(decision) or decision.reason is Reason.WRONG_CALLER:
        return None  # no log has claims, or the identity in the peer's certificate
    if decision.reason in UNASKED:
        return new
    if logged.principal is None:
        if logged.token_failed:
            return new._replace(reason=logged.reason)  # no policy makes the token valid
        # The caller was not authenticated. A public route may have been called without a token,
        # also one that a gateway had no instance for.
        return new if logged.reason in {Reason.PUBLIC, Reason.NO_UPSTREAM} else None
    if decision.route is not None and not logged.lacks.isdisjoint(
        _deciding(decision.route, decision.reason)
    ):
        return None
    return new


def of_claims(decision: Allow | Deny) -> bool:
    """Say whether a decision depends on claims that no log has."""
    reads_owner = decision.route is not None and decision.route.owner_claim != ()
    return decision.reason is Reason.CLAIM_DENIED or (
        decision.reason is Reason.NOT_OWNER and reads_owner
    )


def _deciding(route: Route, reason: Reason) -> Iterator[CallerField]:
    """Yield the fields of the caller on which this decision of ``permits`` depends.

    More roles or permissions never deny, so an allow without them stays an allow.
    """
    if route.principals != {"user"}:  # without a kind in the log, the caller counts as a user
        yield CallerField.KIND
    if route.issuers and reason is not Reason.WRONG_PRINCIPAL_KIND:
        yield CallerField.ISSUER
    waivable = reason is Reason.NOT_OWNER and route.owner_unless
    if waivable or reason in {Reason.PERMISSION_DENIED, Reason.ROLE_DENIED}:
        yield CallerField.HELD

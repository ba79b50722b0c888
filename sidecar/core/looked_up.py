"""Where answers from outside become part of a decision: verdicts on tokens, users' permissions."""

from typing import Final

from sidecar.core.context import Context
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import Route
from sidecar.core.tokens.errors import TokenError, TokenProblem
from sidecar.core.tokens.introspected import verified_by
from sidecar.core.tokens.lookups import (
    MAX_SUBJECT_CHARS,
    Granted,
    NeedsPermissions,
    NeedsVerdict,
    answered,
)
from sidecar.core.tokens.principal import identity_values
from sidecar.core.tokens.regranted import regranted
from sidecar.core.tokens.verify import Verified, recheck

_NO_SEGMENTS: Final = frozenset({"", ".", ".."})


def of_opaque(
    token: bytes, digest: bytes, issuer: int, context: Context
) -> Verified | NeedsVerdict:
    """Return what the issuer says of a token that is not a JWT, or the question.

    Raises TokenError.
    """
    known = context.snapshot.issuers[issuer]
    rule = known.introspection
    if rule is None or rule.shape.fits(token) is not True:
        detail = f"not a JWT, and not a token that issuer {known.name} is asked about (match)"
        raise TokenError(Reason.TOKEN_MALFORMED, detail, (TokenProblem.OPAQUE,))
    return _judged(NeedsVerdict(issuer, digest), None, context)


def confirmed(entry: Verified, context: Context) -> Verified | NeedsVerdict:
    """Return a verified JWT that its issuer calls active, or the question. Raises TokenError."""
    return _judged(NeedsVerdict(entry.issuer, entry.digest), entry, context)


def _judged(
    question: NeedsVerdict, jwt: Verified | None, context: Context
) -> Verified | NeedsVerdict:
    snapshot, verified, now, steady = context[:4]
    answer = answered(question, context.answers, context.attempts, context.aged_to)
    if context.trace:
        context.trace.looked_up(question, answer)
    if answer is None:
        return question
    key = question.digest + answer.mark
    known = verified.get(key)
    if known is not None and recheck(known, snapshot, now, steady) is None:
        return known
    found = verified_by(question, answer, snapshot, now, context.aged_to, opaque=jwt is None)
    if jwt is not None:
        if found.principal.subject != jwt.principal.subject:
            raise TokenError(Reason.TOKEN_CLAIMS, "the introspection is about another subject")
        # What the token says counts; the answer can only end it.
        found = jwt._replace(
            digest=key,
            valid_from=max(jwt.valid_from, found.valid_from),
            valid_until=min(jwt.valid_until, found.valid_until),
            cached_until=min(jwt.cached_until, found.cached_until),
            asked=found.asked,
        )
    elif context.trace:
        context.trace.authenticated(found, answer.value if isinstance(answer.value, dict) else {})
    verified[key] = found
    return found


def asks_for(route: Route, context: Context) -> bool:
    """Say whether a route depends on what is looked up of a user."""
    if route.permissions or route.any_permissions or route.owner_unless:
        return True
    rule = context.snapshot.permissions
    return bool(route.roles) and rule is not None and rule.always


def granted(entry: Verified, context: Context) -> Verified | NeedsPermissions:
    """Return the token with its user's looked-up permissions, or the question.

    Raises TokenError: not_ready or overloaded without a usable answer, token_claims for a subject
    that cannot be asked about.
    """
    snapshot = context.snapshot
    subject = entry.principal.subject
    if subject in _NO_SEGMENTS or len(subject) > MAX_SUBJECT_CHARS:
        detail = "permissions of this subject cannot be asked for: it is not a segment of a path"
        raise TokenError(Reason.TOKEN_CLAIMS, detail)
    question = NeedsPermissions(subject)
    answer = answered(question, context.answers, context.attempts, context.aged_to)
    if context.trace:
        context.trace.looked_up(question, answer)
    if answer is None:
        return question
    key = entry.digest + answer.mark
    known = context.verified.get(key)
    # The token itself was checked just now; what was made of it lasts as long.
    if known is not None and known.cached_until == entry.cached_until:
        return known
    looked_up = answer.value if isinstance(answer.value, Granted) else Granted(())
    if snapshot.permissions is None or not snapshot.permissions.always:
        looked_up = looked_up._replace(roles=None)
    try:
        principal = regranted(entry.principal, looked_up, snapshot.issuers[entry.issuer])
        identity = identity_values(principal, snapshot.identity_headers)
    except TokenError as error:  # more than the identity headers hold: not the token's fault
        raise TokenError(Reason.NOT_READY, f"the user's permissions: {error.detail}") from None
    asked = (*entry.asked, (question, answer.mark))
    found = entry._replace(
        digest=key, principal=principal, identity=identity, asks=False, asked=asked
    )
    context.verified[key] = found
    return found

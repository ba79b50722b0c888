"""Tokens that their issuer is asked about: an answer's claims are checked as a JWT's are."""

from collections.abc import Mapping
from typing import Any, Final

from sidecar.core.reasons import Reason
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.lookups import Answer, NeedsVerdict
from sidecar.core.tokens.principal import identity_values
from sidecar.core.tokens.verify import (
    MAX_TIME,
    Verified,
    check_audience,
    check_kind,
    check_times,
    read_principal,
)

_TIMES: Final = ("exp", "nbf", "iat")


def verified_by(
    question: NeedsVerdict,
    answer: Answer,
    snapshot: Snapshot,
    now: float,
    steady: float,
    *,
    opaque: bool,
) -> Verified:
    """Return the verified token of an answer's claims.

    Only they say how long an ``opaque`` one lives: revocation limits that.
    ``iss`` and ``exp`` are optional (RFC 7662, section 2.2), but checked where they are present.
    Raises TokenError: token_revoked for a token that is not active, and as for a JWT.
    """
    if not isinstance(answer.value, Mapping):
        raise TokenError(Reason.TOKEN_REVOKED, "its issuer says that the token is not active")
    issuer = snapshot.issuers[question.issuer]
    claims = _present(answer.value)
    if claims.get("iss", issuer.name) != issuer.name:
        detail = f"the introspection of issuer {issuer.name} names another iss"
        raise TokenError(Reason.TOKEN_ISSUER, detail)
    start, end = check_times({"exp": MAX_TIME, **claims}, now, snapshot.leeway)
    check_kind(claims, issuer)
    check_audience(claims, issuer)
    principal, asks = read_principal(claims, issuer, snapshot)
    marks = None
    if snapshot.revocations is not None:
        if opaque:
            snapshot.revocations.check_lifetime(claims, issuer.name, now)
        marks = snapshot.revocations.marks_of(claims, question.digest, principal)
    return Verified(
        digest=question.digest + answer.mark,
        principal=principal,
        issuer=question.issuer,
        thumbprint=None,
        valid_from=start,
        valid_until=end,
        cached_until=min(answer.fresh_until, steady + min(end - now, snapshot.cache_ttl)),
        identity=identity_values(principal, snapshot.identity_headers),
        asks=asks,
        asked=((question, answer.mark),),
        marks=marks,
    )


def _present(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the claims without times that are null, which some servers send for none."""
    if all(claims.get(name, 0) is not None for name in _TIMES):
        return claims
    return {name: held for name, held in claims.items() if name not in _TIMES or held is not None}

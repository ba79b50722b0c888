"""Verify tokens: a strict reader before any cryptography, then the signature, then the claims."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sidecar.core.reasons import Reason
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens import jws
from sidecar.core.tokens.claims import is_absent, single
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.facts import facts_of, glance, listed
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.keys import Key
from sidecar.core.tokens.kinds import ACCESS_TOKEN, ID_TOKEN, kind_of
from sidecar.core.tokens.near_misses import near_issuer, near_miss
from sidecar.core.tokens.principal import (
    Kind,
    Principal,
    identity_values,
    principal_from_claims,
)
from sidecar.core.tokens.selection import Tries, named_key, tried_key, try_freely
from sidecar.core.tokens.verified import NeedsKey, Verified
from sidecar.core.trace import Trace

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

__all__ = ["NeedsKey", "TokenError", "Verified", "recheck", "verify"]

# 9999-12-31T23:59:59Z: the last second that every date library knows.
MAX_TIME: Final = 253402300799
SECRET_ALGORITHMS: Final = frozenset({"HS256", "HS384", "HS512"})

# RFC 9864 names the curve in ``alg``: the signatures are EdDSA's, and the key's curve was compared.
_EDDSA_NAMES: Final = frozenset({"Ed25519", "Ed448"})


_NUMBERS: Final = frozenset({int, float})  # to Python a boolean is an int
_ONLY_TEXTS: Final = frozenset({str})

CHECKS: Final = ("form", "issuer", "times", "kind", "audience", "key", "signature", "claims")
"""The checks of ``verify``, in its order; ``issuer`` includes the algorithm."""


def verify(
    token: bytes,
    snapshot: Snapshot,
    now: float,
    *,
    steady: float | None = None,
    digest: bytes | None = None,
    trace: Trace | None = None,
    tries: Tries = try_freely,
) -> Verified | NeedsKey:
    """Verify a token against the snapshot at ``now`` (seconds since the epoch).

    ``steady`` is the same moment by the clock of ``KeySet.fetched_at``; None: ``now``.
    ``digest`` is the token's SHA-256, where the caller has it. ``trace`` receives each of
    ``CHECKS`` that passes. ``tries`` bounds what a token without a known ``kid`` may cost.

    Raises TokenError, with its ``facts``, for the first check that fails: form, issuer,
    algorithm, times, kind, audience, key, signature, claims. Everything before the key costs no
    cryptography.
    """
    unverified: jws.UnverifiedToken | None = None
    try:
        unverified = jws.read(token, snapshot.token_max_bytes)
        digest = digest or hashlib.sha256(token).digest()
        return _verify(unverified, digest, snapshot, now, steady, trace, tries)
    except TokenError as error:
        if unverified is not None:
            alg, kid, claims, _, _ = unverified
            error.facts = facts_of(alg, kid, claims, snapshot.issuers)
        elif len(token) <= snapshot.token_max_bytes:
            error.facts = glance(token, snapshot.issuers)
        raise


def _verify(
    unverified: jws.UnverifiedToken,
    digest: bytes,
    snapshot: Snapshot,
    now: float,
    steady: float | None,
    trace: Trace | None,
    tries: Tries,
) -> Verified | NeedsKey:
    claims = unverified.claims
    if trace:
        named = "" if unverified.kid is None else f", kid {unverified.kid}"
        trace.check("form", True, f"three parts, alg {unverified.alg}{named}")
    index, issuer = _select_issuer(claims, unverified.alg, snapshot.issuers)
    if trace:
        iss = f"iss {claims['iss']}" if "iss" in claims else "no iss"
        trace.check("issuer", True, f"{iss}: the issuer {issuer.name}")
    start, end = check_times(claims, now, snapshot.leeway)
    revocations = snapshot.revocations
    if revocations is not None:
        revocations.check_lifetime(claims, issuer.name, now)
    if trace:
        present = [f"{name} {_utc(claims[name])}" for name in ("nbf", "exp") if name in claims]
        trace.check("times", True, ", ".join(present))
    check_kind(claims, issuer)
    if trace:
        trace.check("kind", True, kind_of(claims))
    check_audience(claims, issuer)
    if trace:
        trace.check("audience", True, _audience_text(claims, issuer))
    if issuer.secrets:
        thumbprint = None
        if trace:
            trace.check("key", True, "the issuer has a secret")
        _check_secrets(unverified, issuer)
    else:
        # Without any keys the first fetch may be on its way: a sidecar that just started.
        if issuer.keys is None:
            return NeedsKey(index, unverified.kid, first=True)
        age = (now if steady is None else steady) - issuer.keys.fetched_at
        # A steady clock never jumps: the age of a set from the future is unknown.
        if age > snapshot.max_stale or (age < 0 and steady is not None):
            detail = f"the keys of issuer {issuer.name} are older than max_stale"
            raise TokenError(Reason.NOT_READY, detail)
        kid = unverified.kid
        if kid is not None and kid in issuer.keys.by_kid:
            if trace:
                trace.check("key", True, "the issuer has a key with the token's kid")
            key: Key | None = named_key(unverified, kid, issuer, issuer.keys, _signed)
        else:
            key = tried_key(unverified, index, issuer.keys, _signed, tries, trace)
        if key is None:
            return NeedsKey(index, kid)
        thumbprint = key.thumbprint
    if trace:
        trace.check("signature", True, "valid")
    principal, asks = read_principal(claims, issuer, snapshot)
    cached_until = (now if steady is None else steady) + min(end - now, snapshot.cache_ttl)
    identity = identity_values(principal, snapshot.identity_headers)
    marks = None if revocations is None else revocations.marks_of(claims, digest, principal)
    # A NamedTuple's own constructor takes twice as long.
    found = tuple.__new__(
        Verified,
        (digest, principal, index, thumbprint, start, end, cached_until, identity, asks, (), marks),
    )
    if trace:
        trace.authenticated(found, claims)
    return found


def read_principal(
    claims: Mapping[str, Any], issuer: Issuer, snapshot: Snapshot
) -> tuple[Principal, bool]:
    """Return the principal of verified claims, and whether its permissions are looked up.

    Where they always are, those of the token count for nothing. Raises TokenError.
    """
    principal = principal_from_claims(claims, issuer, snapshot.claims)
    rule = snapshot.permissions
    if rule is None or principal.kind is not Kind.USER:
        return principal, False
    if rule.issuers and issuer.name not in rule.issuers:
        return principal, False
    if rule.always:
        return principal._replace(permissions=(), granted=frozenset(), patterns=None), True
    return principal, all(is_absent(claims, claim) for claim in issuer.claims.permissions)


def recheck(
    verified: Verified, snapshot: Snapshot, now: float, steady: float | None = None
) -> Reason | None:
    """Return why a cached token is no longer valid at ``now`` (epoch seconds), None while it is.

    ``steady`` is the same moment by the clock of ``KeySet.fetched_at``; None: ``now``.

    Whatever the reason, the token must be verified again, and that result counts: its key may be
    back under another kid, stale keys may have been fetched again. The
    snapshot may hold other keys than the token was verified with, but the same issuers otherwise.
    Revocations are looked up apart, for they need no verifying.
    """
    if now >= verified.valid_until:
        return Reason.TOKEN_EXPIRED
    if now < verified.valid_from:
        return Reason.TOKEN_NOT_YET_VALID
    aged_to = now if steady is None else steady
    if aged_to >= verified.cached_until:
        return Reason.TOKEN_KEY_UNKNOWN
    if verified.thumbprint is None:
        return None
    keys = snapshot.issuers[verified.issuer].keys
    if keys is None:
        return Reason.NOT_READY
    age = aged_to - keys.fetched_at
    if age > snapshot.max_stale or (age < 0 and steady is not None):
        return Reason.NOT_READY
    if verified.thumbprint not in keys.thumbprints:
        return Reason.TOKEN_KEY_UNKNOWN
    return None


def _select_issuer(
    claims: Mapping[str, Any], alg: str, issuers: tuple[Issuer, ...]
) -> tuple[int, Issuer]:
    name = claims.get("iss")
    known: Issuer | None = None
    for index, issuer in enumerate(issuers):
        if issuer.allow_missing_issuer if name is None else issuer.name == name:
            known = issuer
            if alg in issuer.algorithms:
                return index, issuer
    if known is not None:
        same = [issuer.algorithms for issuer in issuers if issuer.name == known.name]
        detail = f"alg is not one that issuer {known.name} accepts: {listed(*same)}"
        raise TokenError(Reason.TOKEN_ALGORITHM, detail)
    raise TokenError(
        Reason.TOKEN_ISSUER,
        "no iss, and no issuer has allow_missing_issuer"
        if name is None
        else f"iss is not a configured issuer: {listed(issuer.name for issuer in issuers)}"
        + near_issuer(name, [issuer.name for issuer in issuers]),
    )


def check_times(claims: Mapping[str, Any], now: float, leeway: float) -> tuple[float, float]:
    """Return when a token is good: from the first to just before the second, leeway included.

    Raises TokenError if it is not good at ``now``.
    """
    # PyJWT's own checks read the wall clock and round; here the caller's ``now`` counts.
    for name in ("exp", "nbf", "iat"):
        if name not in claims:
            if name == "exp":
                raise TokenError(Reason.TOKEN_CLAIMS, "no exp")
            continue
        value = claims[name]
        if type(value) not in _NUMBERS:
            raise TokenError(Reason.TOKEN_CLAIMS, f"{name} is not a number")
        if not 0 <= value <= MAX_TIME:
            raise TokenError(Reason.TOKEN_CLAIMS, f"{name} is not from 0 to {MAX_TIME}")
    start, end = claims["nbf"] - leeway if "nbf" in claims else 0.0, claims["exp"] + leeway
    if now >= end:
        raise TokenError(Reason.TOKEN_EXPIRED, f"expired {now - claims['exp']:.0f} s ago")
    if now < start:
        raise TokenError(Reason.TOKEN_NOT_YET_VALID, f"valid in {claims['nbf'] - now:.0f} s")
    return start, end


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def check_audience(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Raise TokenError(token_audience) unless the claims have an audience of the issuer's."""
    if not issuer.audiences:
        return
    name, aud = _audience(claims, issuer)
    named = aud if isinstance(aud, list) else [aud]
    if not _ONLY_TEXTS.issuperset(map(type, named)) or issuer.audiences.isdisjoint(named):
        problem = "is missing" if aud is None else "has none that it accepts"
        detail = (
            f"issuer {issuer.name} accepts {listed(issuer.audiences)}; {name} {problem}"
            f"{near_miss(named, issuer.audiences)}"
        )
        raise TokenError(Reason.TOKEN_AUDIENCE, detail)


def _audience(claims: Mapping[str, Any], issuer: Issuer) -> tuple[str, object]:
    """Return the first of the issuer's audience claims that is not null, and its name."""
    for claim in issuer.audience_claims:
        value = single(claims, claim)
        if value is not None:
            return str(claim), value
    return " or ".join(map(str, issuer.audience_claims)), None


def _audience_text(claims: Mapping[str, Any], issuer: Issuer) -> str:
    name, value = _audience(claims, issuer)
    return f"{name} {value}" if issuer.audiences or value is not None else "not required"


def check_kind(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Raise TokenError(token_kind) unless the claims are an access token's."""
    kind = kind_of(claims)
    if kind is ACCESS_TOKEN or (kind is ID_TOKEN and issuer.id_tokens):
        return
    hint = "; `token_types` does not have id" if kind is ID_TOKEN else ""
    raise TokenError(Reason.TOKEN_KIND, f"{kind}{hint}")


def _check_secrets(token: jws.UnverifiedToken, issuer: Issuer) -> None:
    # A secret is never used with another algorithm, nor a key set's key with this one (jwk.py knows
    # none of the HS family), whatever an issuer's list of algorithms says: so no public key can
    # serve as a secret.
    if token.alg not in SECRET_ALGORITHMS:
        raise TokenError(Reason.TOKEN_ALGORITHM, "alg is not for a shared secret")
    if not any(_signed(token, secret) is True for secret in issuer.secrets):
        detail = f"no secret of issuer {issuer.name} verifies the signature"
        raise TokenError(Reason.TOKEN_SIGNATURE, detail)


def _signed(token: jws.UnverifiedToken, key: Any) -> bool:
    # ``key`` fits ``alg``: its JWK was read for it (jwk.py), or it is a secret.
    if token.alg.startswith("PS") and len(token.signature) != (key.key_size + 7) // 8:
        return False  # RFC 8017, section 8.1.2; OpenSSL admits one without its leading zeros
    return _algorithm(token.alg).verify(token.signing_input, key, token.signature) is True


@cache
def _algorithm(name: str) -> "Algorithm":
    # PyJWT costs 3 MiB and 20 ms, which no start waits for.
    from jwt.algorithms import get_default_algorithms

    return get_default_algorithms()["EdDSA" if name in _EDDSA_NAMES else name]

"""Issuers, snapshots and verdicts for tests of tokens."""

from typing import Any

from sidecar.core.reasons import Reason
from sidecar.core.routes.table import compile_policy
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.core.tokens.keys import KeySet
from sidecar.core.tokens.verify import NeedsKey, TokenError, Verified, verify
from tests.support.signing import Jwk, jwks

NOW = 1_800_000_000.0  # seconds since the epoch
SECRET = b"a secret made up for the tests of tokens"
HS256 = frozenset({"HS256"})
PUBLIC_KEY_ALGORITHMS = frozenset(
    {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA"),
    }
)


def claims(**others: Any) -> dict[str, Any]:
    """Return a user's good claims with these others; one of Ellipsis is left out."""
    merged = {"iss": "zervi", "sub": "42", "exp": NOW + 600} | others
    return {name: value for name, value in merged.items() if value is not ...}


def key_set(
    *keys: Jwk, algorithms: frozenset[str] = PUBLIC_KEY_ALGORITHMS, fetched_at: float = NOW
) -> KeySet:
    """Return a key set, read as Zervi's are."""
    return parse_key_set(jwks(*keys), algorithms=algorithms, fetched_at=fetched_at)


def issuer(*keys: Jwk, name: str = "zervi", **others: Any) -> Issuer:
    """Return an issuer with these keys, and every algorithm unless others are named."""
    algorithms = others.pop("algorithms", PUBLIC_KEY_ALGORITHMS)
    known = others.pop("keys", None) or (key_set(*keys, algorithms=algorithms) if keys else None)
    return Issuer(name, algorithms, keys=known, **others)


def secret_issuer(*secrets: bytes, name: str = "zervi", **others: Any) -> Issuer:
    """Return an issuer with these secrets."""
    return Issuer(name, HS256, secrets=secrets or (SECRET,), **others)


def snapshot(*issuers: Issuer, **others: Any) -> Snapshot:
    """Return a snapshot of these issuers and no route."""
    return Snapshot(compile_policy((), digest="test"), issuers, (), **others)


def verdict(token: bytes, *issuers: Issuer, now: float = NOW, **others: Any) -> Reason | NeedsKey:
    """Return ``ok``, why the token is refused, or the key that is needed."""
    try:
        found = verify(token, snapshot(*issuers, **others), now)
    except TokenError as error:
        return error.reason
    return Reason.OK if isinstance(found, Verified) else found

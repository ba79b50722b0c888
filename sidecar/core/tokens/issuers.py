"""Issuers of tokens."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.core.tokens.claims import Claim, Path
from sidecar.core.tokens.keys import KeySet
from sidecar.core.tokens.lookups import Introspection
from sidecar.core.tokens.service_rules import ServiceRule

# RFC 7518, section 3.2: at least the size of the hash.
MIN_SECRET_BYTES: Final[Mapping[str, int]] = {"HS256": 32, "HS384": 48, "HS512": 64}

MIN_DISTINCT_BYTES: Final = 8
"""Fewer in a secret mean a repeated word or letter: 32 random hex digits have them once in 28
million, and base64 or raw bytes practically never."""

# Secrets from JobFirst's public repositories.
PUBLIC_SECRETS = frozenset(
    {
        b"jobfirst-unified-auth-secret-key-2024",
        b"zervigo-mvp-secret-key-2025",
        b"jobfirst-basic-secret-key-2024",
        b"jobfirst_jwt_secret_2024",
    }
)

# How keys begin in PEM and OpenSSH files. A public key as the secret would let anyone sign.
_KEY_BEGINNINGS = (b"-----BEGIN ", b"---- BEGIN ", b"ssh-", b"ecdsa-sha2-")


class ClaimNames(NamedTuple):
    """The claims for each part of a principal: the first that is not empty.

    For roles and permissions, all of them. ``headers`` names further headers for the upstream, in
    lower case, and the claims for each.
    """

    subject: tuple[Claim, ...] = ("user_id", "sub")
    username: tuple[Claim, ...] = ("username",)
    email: tuple[Claim, ...] = ("email",)
    roles: tuple[Claim, ...] = ("role", "roles")
    permissions: tuple[Claim, ...] = ("permissions",)
    headers: Mapping[str, tuple[Claim, ...]] = {}


class Issuer(NamedTuple):
    """An issuer of tokens, with its keys or secrets at this moment.

    Either ``secrets`` is filled and ``algorithms`` are of the HS family, or it is empty and
    ``keys`` counts: None until the first valid key set was fetched. ``audiences`` empty means that
    a token's audience is not checked. ``role_permissions`` says what a role grants beside the
    token's own permissions.

    ``grantable`` and ``grantable_roles`` are patterns (a name, or a prefix of names before a ``*``)
    of all that its tokens can grant; None: no limit. ``subject_pattern`` is a regular expression
    for the whole of its subjects, with ASCII's meaning of a digit; None: any.

    ``audience_claims`` are where an audience may be: the first that is not null. ``id_tokens`` says
    that ID tokens count as access tokens do. A token is a service's if it has ``service_id``, or if
    one of ``service_when`` holds. ``introspection`` is None for an issuer that is not asked about
    tokens.
    """

    name: str
    algorithms: frozenset[str]
    audiences: frozenset[str] = frozenset()
    allow_missing_issuer: bool = False
    secrets: tuple[bytes, ...] = ()
    keys: KeySet | None = None
    claims: ClaimNames = ClaimNames()
    role_permissions: Mapping[str, tuple[str, ...]] = {}
    grantable: tuple[str, ...] | None = None
    grantable_roles: tuple[str, ...] | None = None
    subject_pattern: str | None = None
    audience_claims: tuple[str | Path, ...] = ("aud",)
    id_tokens: bool = False
    service_when: tuple[ServiceRule, ...] = ()
    introspection: Introspection | None = None


def check_secret(secret: bytes, algorithm: str = "HS256") -> str | None:
    """Return why a secret must not be used (public, a key, too short), None if it may."""
    if secret.strip() in PUBLIC_SECRETS:
        return "it is publicly known: it is in JobFirst's public repositories"
    if secret.lstrip().startswith(_KEY_BEGINNINGS) or b'"kty"' in secret:
        return "it is a key in PEM, OpenSSH or JWK form, not a secret"
    least = MIN_SECRET_BYTES[algorithm]
    if len(secret) < least:
        return f"it has {len(secret)} bytes, at least {least} are needed"
    return None


def doubt_secret(secret: bytes) -> str | None:
    """Return why a secret that ``check_secret`` accepts may be guessed, None if it seems random."""
    distinct = len(set(secret))
    if distinct < MIN_DISTINCT_BYTES:
        return f"it has only {distinct} different characters, so it may be easy to guess"
    return None

"""Tokens: a strict reader before any cryptography, then the signature, then what the claims say."""

from typing import NamedTuple

from sidecar.core.principal import Principal
from sidecar.core.reasons import Reason


class TokenError(Exception):
    """A token that proves nothing. ``detail`` is for the operator's log, never for the client."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class NeedsKey(NamedTuple):
    """The token names a key that the issuer's key set lacks; a fresh key set may have it.

    ``issuer`` is the issuer's index in the snapshot.
    """

    issuer: int
    kid: str | None


class Verified(NamedTuple):
    """A token that was verified: its principal, and how long that may be relied on.

    ``digest`` is the SHA-256 of the whole token. ``issuer`` is the index in the snapshot. ``thumbprint`` is that of
    the key that verified it, None for a secret. Times are seconds since the epoch; leeway is already in them.
    ``identity`` holds the upstream's headers, ready to send.
    """

    digest: bytes
    principal: Principal
    issuer: int
    thumbprint: str | None
    valid_from: float
    valid_until: float
    cached_until: float
    identity: tuple[tuple[str, str], ...]

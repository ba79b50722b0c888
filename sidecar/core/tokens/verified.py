"""What verifying a token leads to, beside an error."""

from typing import NamedTuple

from sidecar.core.tokens.principal import Principal


class NeedsKey(NamedTuple):
    """The issuer's key set lacks the token's key; a fresh key set may have it.

    ``issuer`` is the issuer's index in the snapshot. ``first`` says that it has no key set yet, so
    that no token can be refused.
    """

    issuer: int
    kid: str | None
    first: bool = False


class Verified(NamedTuple):
    """A verified token: its principal, and how long the result is valid.

    ``digest`` is the SHA-256 of the whole token. ``issuer`` is the index in the snapshot.
    ``thumbprint`` is that of the key that verified it, None for a secret. Times are seconds since
    the epoch; leeway is already in them; ``cached_until`` is of the steady clock. ``identity``
    holds the upstream's headers, ready to send.
    """

    digest: bytes
    principal: Principal
    issuer: int
    thumbprint: str | None
    valid_from: float
    valid_until: float
    cached_until: float
    identity: tuple[tuple[str, str], ...]

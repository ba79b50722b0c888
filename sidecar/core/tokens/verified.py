"""What verifying a token leads to, beside an error."""

from typing import NamedTuple

from sidecar.core.tokens.lookups import LookUp, NeedsKey
from sidecar.core.tokens.principal import Principal
from sidecar.core.tokens.revocations import Marks

__all__ = ["NeedsKey", "Verified"]


class Verified(NamedTuple):
    """A verified token: its principal, and how long the result is valid.

    ``digest`` is the SHA-256 of the whole token, followed by the mark of each answer in ``asked``.
    ``issuer`` is the index in the snapshot.
    ``thumbprint`` is that of the key that verified it, None for a secret and for a token that only
    an introspection knows. Times are seconds since
    the epoch; leeway is already in them; ``cached_until`` is of the steady clock. ``identity``
    holds the upstream's headers, ready to send. ``asks`` says that the token does not say what its
    user may do: routes that need permissions look them up. ``asked`` are the look-ups that went
    into the principal, each with its answer's mark. ``marks`` are what revocations are compared
    with, None where there is no feed of them.
    """

    digest: bytes
    principal: Principal
    issuer: int
    thumbprint: str | None
    valid_from: float
    valid_until: float
    cached_until: float
    identity: tuple[tuple[str, str], ...]
    asks: bool = False
    asked: tuple[tuple[LookUp, bytes], ...] = ()
    marks: Marks | None = None

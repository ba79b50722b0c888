"""Verification keys: a JWKS (RFC 7517) read strictly, and what each key may verify."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Key(NamedTuple):
    """One verification key.

    ``algorithms`` are those that fit its type, curve and own ``alg``. ``thumbprint`` is RFC 7638's, so that a
    ``kid`` that is used again for another key is another key. ``public_key`` is cryptography's object.
    """

    kid: str | None
    algorithms: frozenset[str]
    thumbprint: str
    public_key: Any


class KeySet(NamedTuple):
    """An issuer's verification keys at one moment; ``fetched_at`` in seconds since the epoch."""

    keys: tuple[Key, ...]
    by_kid: Mapping[str, Key]
    thumbprints: frozenset[str]
    fetched_at: float

"""Verification keys, as a JWKS that was read holds them."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Key(NamedTuple):
    """One verification key.

    ``algorithms`` are those that fit its type, curve and own ``alg``. ``thumbprint`` is RFC 7638's,
    so that a ``kid`` that is used again for another key is another key. ``public_key`` is
    cryptography's object.
    """

    kid: str | None
    algorithms: frozenset[str]
    thumbprint: str
    public_key: Any


class KeySet(NamedTuple):
    """An issuer's verification keys at one moment.

    ``fetched_at`` is in seconds since the epoch, by a steady clock (``sidecar.net.clock``).
    ``dropped`` says for the operator which keys were left out, by cause.
    """

    keys: tuple[Key, ...]
    by_kid: Mapping[str, Key]
    thumbprints: frozenset[str]
    fetched_at: float
    dropped: str = ""

"""Verification keys, as a JWKS that was read holds them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

MAX_CANDIDATES: Final = 4
"""Keys that are tried for a token whose ``kid`` names none: an issuer that sends no ``kid`` has two
or three (the last, the present and the next), and each costs a verification."""


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

    ``by_kid`` has the keys of each ``kid`` by algorithm. ``without_kid`` and ``fitting`` have, by
    algorithm, the keys to try for a token whose ``kid`` names no key, and for one without ``kid``.
    ``fetched_at`` is in seconds since the epoch, by a steady clock (``sidecar.net.clock``).
    ``dropped`` says for the operator which keys were left out, by cause; ``unusable`` has the cause
    for each ``kid`` of such a key.
    """

    keys: tuple[Key, ...]
    by_kid: Mapping[str, Mapping[str, Key]]
    without_kid: Mapping[str, tuple[Key, ...]]
    fitting: Mapping[str, tuple[Key, ...]]
    thumbprints: frozenset[str]
    fetched_at: float
    dropped: str = ""
    unusable: Mapping[str, str] = {}


def key_set(
    keys: Iterable[Key], fetched_at: float, dropped: str = "", unusable: Mapping[str, str] = {}
) -> KeySet:
    """Return the set of these keys, of which no two of one ``kid`` share an algorithm."""
    keys = tuple(keys)
    by_kid: dict[str, dict[str, Key]] = {}
    for key in keys:
        if key.kid is not None:
            by_kid.setdefault(key.kid, {}).update(dict.fromkeys(key.algorithms, key))
    unnamed = [key for key in keys if key.kid is None]
    return KeySet(
        keys,
        by_kid,
        _candidates(unnamed),
        # A key without kid is more likely that of a token without kid.
        _candidates([*unnamed, *keys]),
        frozenset(key.thumbprint for key in keys),
        fetched_at,
        dropped,
        unusable,
    )


def _candidates(keys: Iterable[Key]) -> dict[str, tuple[Key, ...]]:
    """Return the first of the keys for each algorithm; one under several kids counts once."""
    found: dict[str, dict[str, Key]] = {}
    for key in keys:
        for algorithm in key.algorithms:
            found.setdefault(algorithm, {}).setdefault(key.thumbprint, key)
    return {
        algorithm: tuple(fitting.values())[:MAX_CANDIDATES] for algorithm, fitting in found.items()
    }

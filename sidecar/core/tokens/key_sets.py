"""Verification keys: a JWKS (RFC 7517) read strictly, and what each key may verify."""

from collections import Counter, defaultdict
from typing import Any, Final

from sidecar.core.tokens import strict_json
from sidecar.core.tokens.keys import Key, KeySet, key_set
from sidecar.core.tokens.wrong_documents import known_by_its_beginning, other_than_jwks

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100  # the largest of the field (Entra's) have some 30
MAX_ENTRIES: Final = 1000  # reading a key costs up to 0.2 ms, also where it is left out then


class KeySetError(Exception):
    """The document is not a usable key set; the message says why and quotes at most a jwks_uri."""


class _LeftOut:
    """The keys that are left out: how many by cause, and the cause by kid."""

    def __init__(self) -> None:
        self._causes: Counter[str] = Counter()
        self.by_kid: dict[str, str] = {}

    def add(self, kid: str | None, cause: str) -> None:
        self._causes[cause] += 1
        if kid is not None:
            self.by_kid[kid] = cause

    def __str__(self) -> str:
        return "; ".join(f"{count} × {cause}" for cause, count in self._causes.items())


def parse_key_set(document: bytes, *, algorithms: frozenset[str], fetched_at: float) -> KeySet:
    """Read a JWKS; ``algorithms`` are the issuer's.

    Keys that are not for verifying, weak or malformed are left out, and so are keys that a token's
    ``kid`` and ``alg`` cannot tell apart, and those after the first MAX_KEYS.

    Raises KeySetError for a document that is too large, not a JWKS, or has no usable key.
    """
    # cryptography costs memory and start time that a process that reads no key set need not pay.
    from sidecar.core.tokens import jwk

    entries = _entries(document)
    left_out = _LeftOut()
    found: dict[tuple[str | None, str], Key] = {}  # each key once per kid
    precision: dict[tuple[str | None, str], dict[str, int]] = defaultdict(dict)
    for number, entry in enumerate(entries):
        if len(found) == MAX_KEYS or number == MAX_ENTRIES:
            what = f"{MAX_KEYS} that fit" if len(found) == MAX_KEYS else f"{MAX_ENTRIES}"
            for rest in entries[number:]:
                left_out.add(jwk.kid_of(rest), f"after the first {what}")
            break
        try:
            key = jwk.read(entry, algorithms)
        except jwk.UnusableKeyError as error:
            left_out.add(jwk.kid_of(entry), str(error))
            continue
        same = found.get((key.kid, key.thumbprint), key)
        found[key.kid, key.thumbprint] = key._replace(algorithms=key.algorithms | same.algorithms)
        for algorithm in key.algorithms:
            of_kid = precision[key.kid, algorithm]
            of_kid[key.thumbprint] = max(jwk.precision(entry), of_kid.get(key.thumbprint, 0))
    keys = []
    for (kid, thumbprint), key in found.items():
        meant = frozenset(
            algorithm
            for algorithm in key.algorithms
            if kid is None or _is_meant(thumbprint, precision[kid, algorithm])
        )
        if meant != key.algorithms:
            left_out.add(kid, "another key has its kid and fits the same algorithm")
        if meant:
            keys.append(key._replace(algorithms=meant))
    if not keys:
        raise KeySetError(f"none of its {len(entries)} keys can be used: {left_out}")
    return key_set(keys, fetched_at, str(left_out), left_out.by_kid)


def _is_meant(thumbprint: str, precision: dict[str, int]) -> bool:
    """Say whether a kid with an algorithm means this key: the most precise of those that fit.

    What stays ambiguous means none of them: which of them verifies would be a guess.
    """
    best = max(precision.values())
    return [found for found, own in precision.items() if own == best] == [thumbprint]


def _entries(document: bytes) -> list[Any]:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise KeySetError(f"larger than {MAX_DOCUMENT_BYTES // 1024} KiB")
    if (what := known_by_its_beginning(document)) is not None:
        raise KeySetError(what)
    try:
        value = strict_json.loads(document)
    except strict_json.StrictJsonError as error:
        raise KeySetError(f"not a JWKS: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        raise KeySetError(other_than_jwks(value))
    entries: list[Any] = value["keys"]
    if not entries:
        raise KeySetError("it has no keys")
    return entries

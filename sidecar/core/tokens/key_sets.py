"""Verification keys: a JWKS (RFC 7517) read strictly, and what each key may verify."""

from collections import Counter
from typing import Any, Final

from sidecar.core.tokens import strict_json
from sidecar.core.tokens.keys import Key, KeySet

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100


class KeySetError(Exception):
    """The document is not a usable key set; the message says why and quotes nothing of it."""


def parse_key_set(document: bytes, *, algorithms: frozenset[str], fetched_at: float) -> KeySet:
    """Read a JWKS; ``algorithms`` are the issuer's.

    Keys that are not for verifying, weak or malformed are dropped. Raises KeySetError for a
    document that is too large, not a JWKS, has two keys of one ``kid`` (after the dropping: which
    of them a token means would be a guess), or has no usable key left.
    """
    # cryptography costs memory and start time that a process that reads no key set need not pay.
    from sidecar.core.tokens import jwk

    entries = _entries(document)
    keys: list[Key] = []
    causes: Counter[str] = Counter()
    for entry in entries:
        try:
            keys.append(jwk.read(entry, algorithms))
        except jwk.UnusableKeyError as error:
            causes[str(error)] += 1
    dropped = "; ".join(f"{count} × {cause}" for cause, count in causes.items())
    if not keys:
        raise KeySetError(f"none of its {len(entries)} keys can be used: {dropped}")
    by_kid = {key.kid: key for key in keys if key.kid is not None}
    if len(by_kid) != sum(key.kid is not None for key in keys):
        raise KeySetError("two of its keys have the same kid")
    thumbprints = frozenset(key.thumbprint for key in keys)
    return KeySet(tuple(keys), by_kid, thumbprints, fetched_at, dropped)


def _entries(document: bytes) -> list[Any]:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise KeySetError(f"larger than {MAX_DOCUMENT_BYTES // 1024} KiB")
    if document.lstrip()[:1] == b"<":
        raise KeySetError("not JSON but HTML or XML")
    try:
        value = strict_json.loads(document)
    except strict_json.StrictJsonError as error:
        raise KeySetError(f"not a JWKS: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        raise KeySetError('not a JWKS: not an object with a list "keys"')
    entries: list[Any] = value["keys"]
    if not entries:
        raise KeySetError("it has no keys")
    if len(entries) > MAX_KEYS:
        raise KeySetError(f"it has {len(entries)} keys, at most {MAX_KEYS} are read")
    return entries

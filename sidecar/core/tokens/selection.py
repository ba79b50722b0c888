"""Which of an issuer's keys verifies a token (RFC 7515, section 4.1.4)."""

from collections.abc import Callable
from functools import partial

from sidecar.core.reasons import Reason
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.jws import UnverifiedToken
from sidecar.core.tokens.keys import Key, KeySet
from sidecar.core.trace import Trace

Signed = Callable[[UnverifiedToken, object], bool]
"""Says whether a key that fits the token's ``alg`` verifies its signature."""

Tries = Callable[[int, str, Callable[[], bool]], bool | None]
"""Verifies with one more key than a token pays for: the one with this thumbprint, of the issuer
with this index, by calling the function. None: it may not, since too many such verifications have
failed."""


def try_freely(_issuer: int, _key: str, verifies: Callable[[], bool]) -> bool:
    """Verify, without a bound."""
    return verifies()


def named_key(
    token: UnverifiedToken, kid: str, issuer: Issuer, keys: KeySet, signed: Signed
) -> Key:
    """Return the key that verifies a token whose ``kid`` is in the set; no other key is tried.

    Raises TokenError: token_algorithm, token_signature.
    """
    key = keys.by_kid[kid].get(token.alg)
    if key is None:
        detail = f"alg does not fit the key that kid names at issuer {issuer.name}"
        if kid in keys.unusable:
            detail += f"; another key of this kid was not usable: {keys.unusable[kid]}"
        raise TokenError(Reason.TOKEN_ALGORITHM, detail)
    if signed(token, key.public_key) is not True:
        detail = f"the signature does not verify with that key of issuer {issuer.name}"
        raise TokenError(Reason.TOKEN_SIGNATURE, detail)
    return key


def tried_key(
    token: UnverifiedToken,
    index: int,
    keys: KeySet,
    signed: Signed,
    tries: Tries,
    trace: Trace | None,
) -> Key | None:
    """Return the key that verifies a token whose ``kid`` is not in the set; None: none does.

    The first key costs what a token with a known ``kid`` costs; ``tries`` bounds the others.

    Raises TokenError(overloaded).
    """
    candidates = (keys.fitting if token.kid is None else keys.without_kid).get(token.alg, ())
    if trace and candidates:
        trace.check("key", True, f"kid names no key; {len(candidates)} fit and are tried")
    untried = False
    for number, key in enumerate(candidates):
        verifies = partial(signed, token, key.public_key)
        verified = tries(index, key.thumbprint, verifies) if number else verifies()
        if verified is True:
            return key
        untried = untried or verified is None
    if untried:
        detail = "too many tokens whose kid names no key: not all keys that fit were tried"
        raise TokenError(Reason.OVERLOADED, detail)
    return None

"""One JSON Web Key (RFC 7517) read strictly into a key that may verify signatures."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from sidecar.core.tokens import base64url, edwards
from sidecar.core.tokens.jws import MAX_KID_CHARS
from sidecar.core.tokens.keys import Key

# NIST SP 800-131A and RFC 7518, section 3.3 draw the lower line. Verifying costs the square of the
# size: beyond the upper one a key would be a brake.
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
# FIPS 186-5, section 5.4: above 2^16 and odd. Small exponents have made forgeries possible where a
# verifier reads the padding loosely; a long one makes verifying slow, and OpenSSL too stops at 64
# bits where the modulus is large.
MIN_RSA_EXPONENT: Final = 65537
MAX_RSA_EXPONENT_BITS: Final = 64
# NIST SP 800-89, section 5.3.3: a modulus has no factor below 752.
_SMALL_PRIMES = math.prod(
    n for n in range(2, 752) if all(n % m for m in range(2, math.isqrt(n) + 1))
)

_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EC_CURVES: Mapping[str, tuple[str, type[EllipticCurve], int]] = {
    # The algorithm, the curve and the bytes of a coordinate (RFC 7518, sections 3.4 and 6.2.1).
    "P-256": ("ES256", SECP256R1, 32),
    "P-384": ("ES384", SECP384R1, 48),
    "P-521": ("ES512", SECP521R1, 66),
}
_EDWARDS_CURVES: Mapping[
    str, tuple[edwards.Curve, type[Ed25519PublicKey] | type[Ed448PublicKey]]
] = {
    "Ed25519": (edwards.ED25519, Ed25519PublicKey),  # RFC 8037
    "Ed448": (edwards.ED448, Ed448PublicKey),
}
_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


# Algorithms, cryptography's key, and the members for the thumbprint in RFC 7638's order.
_Material = tuple[frozenset[str], object, Mapping[str, str]]


class UnusableKeyError(ValueError):
    """The key cannot be used; the message says why and quotes nothing of it."""


def read(jwk: object, algorithms: frozenset[str]) -> Key:
    """Return the key, able to verify those of ``algorithms`` that fit its type and its own ``alg``.

    Raises UnusableKeyError when it is not for verifying, weak, malformed, or none of ``algorithms``
    fits.
    """
    if not isinstance(jwk, dict):
        raise UnusableKeyError("not a JSON object")
    _check_purpose(jwk)
    kid = kid_of(jwk)
    if kid is None and _given(jwk, "kid") is not None:
        raise UnusableKeyError(f"kid is not a string of at most {MAX_KID_CHARS} characters")
    match jwk.get("kty"):
        case "RSA":
            fitting, public_key, members = _read_rsa(jwk)
        case "EC":
            fitting, public_key, members = _read_ec(jwk)
        case "OKP":
            fitting, public_key, members = _read_okp(jwk)
        case _:
            raise UnusableKeyError("kty is not RSA, EC or OKP")
    alg = _given(jwk, "alg")
    if alg is not None:
        if not (isinstance(alg, str) and alg in fitting):
            raise UnusableKeyError("alg does not fit the key's type")
        fitting = frozenset({alg})
    if not fitting & algorithms:
        raise UnusableKeyError("for none of the issuer's algorithms")
    return Key(kid, fitting & algorithms, _thumbprint(members), public_key)


def kid_of(jwk: object) -> str | None:
    """Return the ``kid`` that tokens can name a key by, None without a usable one."""
    kid = _given(jwk, "kid") if isinstance(jwk, dict) else None
    return kid if isinstance(kid, str) and len(kid) <= MAX_KID_CHARS else None


def precision(jwk: Mapping[str, Any]) -> int:
    """Return how precisely a key says that it is meant: by its ``alg`` before its ``use``."""
    return 2 * (_given(jwk, "alg") is not None) + (_given(jwk, "use") is not None)


def _given(jwk: Mapping[str, Any], name: str) -> Any:
    """Return an optional member; null and an empty text or list, which some issuers send, are none.

    Raises nothing for other types: the caller checks them.
    """
    value = jwk.get(name)
    return None if value in ("", []) else value


def _check_purpose(jwk: Mapping[str, Any]) -> None:
    if jwk.get("kty") == "oct":
        raise UnusableKeyError("a shared secret (kty oct)")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise UnusableKeyError("a private key")
    if _given(jwk, "use") not in (None, "sig"):
        raise UnusableKeyError("use is not sig")
    operations = _given(jwk, "key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise UnusableKeyError("key_ops lacks verify")


def _read_rsa(jwk: Mapping[str, Any]) -> _Material:
    n, e = _integer(jwk, "n"), _integer(jwk, "e")
    if n.bit_length() < MIN_RSA_BITS:
        raise UnusableKeyError(f"RSA under {MIN_RSA_BITS} bits")
    if n.bit_length() > MAX_RSA_BITS:
        raise UnusableKeyError(f"RSA over {MAX_RSA_BITS} bits")
    if math.gcd(n, _SMALL_PRIMES) != 1:
        raise UnusableKeyError("RSA modulus with a small factor")
    if e < MIN_RSA_EXPONENT or e % 2 == 0 or e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise UnusableKeyError(f"RSA exponent below {MIN_RSA_EXPONENT}, even or too long")
    try:
        public_key = RSAPublicNumbers(e, n).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeyError("not an RSA key") from None
    # RFC 7518, section 6.3.1: the fewest octets.
    members = {"e": _spelled(e), "kty": "RSA", "n": _spelled(n)}
    return _RSA_ALGORITHMS, public_key, members


def _read_ec(jwk: Mapping[str, Any]) -> _Material:
    crv = _given(jwk, "crv")
    if crv is None:  # some issuers leave it out; their alg says the same
        crv = next((name for name in _EC_CURVES if _EC_CURVES[name][0] == jwk.get("alg")), None)
    if not isinstance(crv, str) or crv not in _EC_CURVES:
        raise UnusableKeyError("crv is not P-256, P-384 or P-521")
    algorithm, curve, size = _EC_CURVES[crv]
    x, y = _integer(jwk, "x"), _integer(jwk, "y")
    if max(x, y).bit_length() > 8 * size:
        raise UnusableKeyError("not a point on the curve")
    try:
        public_key = EllipticCurvePublicNumbers(x, y, curve()).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeyError("not a point on the curve") from None
    # RFC 7518, section 6.2.1.2: coordinates of the curve's full length.
    members = {"crv": crv, "kty": "EC", "x": _spelled(x, size), "y": _spelled(y, size)}
    return frozenset({algorithm}), public_key, members


def _read_okp(jwk: Mapping[str, Any]) -> _Material:
    crv = jwk.get("crv")
    if not isinstance(crv, str) or crv not in _EDWARDS_CURVES:
        raise UnusableKeyError("crv is not Ed25519 or Ed448")
    curve, public_key_type = _EDWARDS_CURVES[crv]
    x = _octets(jwk, "x")
    if not edwards.is_sound(x, curve):
        raise UnusableKeyError("not a point on the curve, or one of low order")
    try:
        public_key = public_key_type.from_public_bytes(x)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeyError("not an EdDSA key") from None
    members = {"crv": crv, "kty": "OKP", "x": base64url.encode(x).decode()}
    return frozenset({"EdDSA", crv}), public_key, members


def _integer(jwk: Mapping[str, Any], name: str) -> int:
    """Return a number; zero octets before it, which some issuers write, change nothing."""
    octets = _octets(jwk, name)
    if not octets:
        raise UnusableKeyError(f"{name} is empty")
    return int.from_bytes(octets)


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    """Return the octets of base64url, or of what some issuers write: base64, with padding."""
    value = jwk.get(name)
    if not isinstance(value, str):
        raise UnusableKeyError(f"{name} is not a string")
    try:
        plain = value.encode("ascii").translate(_TO_BASE64URL)
        return base64url.decode(plain.removesuffix(b"=").removesuffix(b"="))
    except ValueError:
        raise UnusableKeyError(f"{name} is not canonical base64url") from None


def _spelled(number: int, octets: int = 0) -> str:
    """Return a number in base64url with this many octets, or the fewest."""
    return base64url.encode(number.to_bytes(octets or (number.bit_length() + 7) // 8)).decode()


def _thumbprint(members: Mapping[str, str]) -> str:
    # RFC 7638, section 3: the required members, sorted, without white space. They are spelled anew,
    # so that one key has one thumbprint however its numbers were written.
    canonical = json.dumps(members, separators=(",", ":"))
    return base64url.encode(hashlib.sha256(canonical.encode()).digest()).decode()

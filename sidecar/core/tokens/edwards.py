"""Whether the bytes of an EdDSA public key are a point that a signature can be trusted to.

OpenSSL takes any bytes of the right length and finds out when it verifies; a key of low order (all
zeros, say) it takes even then, and for such a key anyone can make signatures.
"""

from typing import NamedTuple


class Curve(NamedTuple):
    """The curve a·x² + y² = 1 + d·x²·y² modulo ``p``; keys have ``key_bytes``."""

    p: int
    a: int
    d: int
    key_bytes: int


_P25519 = 2**255 - 19

# RFC 8032, sections 5.1 and 5.2.
ED25519 = Curve(_P25519, -1, -121665 * pow(121666, -1, _P25519), 32)
ED448 = Curve(2**448 - 2**224 - 1, 1, -39081, 57)


def is_sound(public_key: bytes, curve: Curve) -> bool:
    """Say whether ``public_key`` is the canonical encoding of a point that is not of low order."""
    if len(public_key) != curve.key_bytes:
        return False
    p = curve.p
    # The top bit is the sign of x, the rest is y in little-endian order (RFC 8032, sections 5.1.2
    # and 5.2.2).
    y = int.from_bytes(public_key, "little") & ((1 << (8 * curve.key_bytes - 1)) - 1)
    if y >= p:
        return False
    yy = y * y % p
    u, v = 1 - yy, curve.a - curve.d * yy  # x² = u/v, a square where u·v is one
    if pow(u * v % p, (p - 1) // 2, p) not in {0, 1}:
        return False
    # y is 1, -1 or 0 where the order is 1, 2 or 4. A point of order 8 doubles to one with y = 0:
    # there y² = a·x².
    return yy not in {0, 1} and (yy * v - curve.a * u) % p != 0

"""Whether the bytes of an EdDSA public key are a point that a signature can be trusted to.

OpenSSL takes any bytes of the right length and finds out when it verifies; a key of low order (all
zeros, say) it takes even then, and for such a key anyone can make signatures.
"""

from typing import NamedTuple


class Curve(NamedTuple):
    """The curve a·x² + y² = 1 + d·x²·y² modulo ``p``, with a cofactor of 2^``doublings``."""

    p: int
    a: int
    d: int
    doublings: int
    key_bytes: int


_P25519 = 2**255 - 19

# RFC 8032, sections 5.1 and 5.2.
ED25519 = Curve(_P25519, -1, -121665 * pow(121666, -1, _P25519), 3, 32)
ED448 = Curve(2**448 - 2**224 - 1, 1, -39081, 2, 57)


def is_sound(public_key: bytes, curve: Curve) -> bool:
    """Say whether ``public_key`` is the canonical encoding of a point that is not of low order."""
    if len(public_key) != curve.key_bytes:
        return False
    p, a = curve.p, curve.a
    # The top bit is the sign of x, the rest is y in little-endian order (RFC 8032, sections 5.1.2
    # and 5.2.2).
    y = int.from_bytes(public_key, "little") & ((1 << (8 * curve.key_bytes - 1)) - 1)
    if y >= p:
        return False
    yy = y * y % p
    xx = (1 - yy) * pow(a - curve.d * yy, -1, p) % p
    if pow(xx, (p - 1) // 2, p) not in {0, 1}:
        return False  # x² is no square: there is no such point
    for _ in range(curve.doublings):
        # The doubled point's coordinates, as far as the next step needs them: y, and x² from it.
        y = (yy - a * xx) * pow(2 - a * xx - yy, -1, p) % p
        yy = y * y % p
        xx = (1 - yy) * pow(a - curve.d * yy, -1, p) % p
    return y != 1  # only the neutral element has y = 1

"""Edwards points: which bytes may be an EdDSA public key."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.tokens.edwards import ED448, ED25519, Curve, is_sound

# The encodings of the eight points of low order on Curve25519's Edwards form, canonical ones first;
# the last ones write y as y + p, or a sign that x = 0 has not.
LOW_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("encoding", LOW_ORDER)
def test_points_of_low_order_are_refused(encoding: str) -> None:
    """In every spelling."""
    assert not is_sound(bytes.fromhex(encoding), ED25519)


@pytest.mark.parametrize("y", [0, 1, ED448.p - 1])
def test_points_of_low_order_on_ed448_are_refused(y: int) -> None:
    """Its cofactor is four."""
    for sign in (0, 1):
        assert not is_sound((y | sign << 455).to_bytes(57, "little"), ED448)


def test_what_is_refused_would_let_anyone_sign() -> None:
    """OpenSSL verifies a signature that was made without any key, for a key of all zeros."""
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes(32))
    nothing = b"\1" + bytes(31) + bytes(32)  # R is the neutral element, S is zero
    for number in range(1000):
        message = str(number).encode()
        digest = hashlib.sha512(nothing[:32] + bytes(32) + message).digest()
        # R = S·B - h·A holds where h is a multiple of A's order, four. (A key has 253 bits.)
        h = int.from_bytes(digest, "little") % (2**252 + 27742317777372353535851937790883648493)
        if h % 4 == 0:
            key.verify(nothing, message)
            return
    pytest.fail("one message in four should do")


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_every_real_key_is_sound(seed: bytes) -> None:
    """On both curves."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert is_sound(key.public_bytes_raw(), ED25519)
    key448 = ed448.Ed448PrivateKey.from_private_bytes(seed + b"." * 25).public_key()
    assert is_sound(key448.public_bytes_raw(), ED448)


@pytest.mark.parametrize("curve", [ED25519, ED448])
def test_about_half_of_all_numbers_are_not_a_point(curve: Curve) -> None:
    """As many as x² has no root for."""
    sound = sum(is_sound(y.to_bytes(curve.key_bytes, "little"), curve) for y in range(2, 202))
    assert 0.3 < sound / 200 < 0.7


@pytest.mark.parametrize("curve", [ED25519, ED448])
def test_a_y_that_is_not_reduced_is_refused(curve: Curve) -> None:
    """RFC 8032, section 5.1.3: else one key had two spellings and two thumbprints."""
    reduced = next(
        y for y in range(2, 19) if is_sound(y.to_bytes(curve.key_bytes, "little"), curve)
    )
    assert not is_sound((reduced + curve.p).to_bytes(curve.key_bytes, "little"), curve)


@pytest.mark.parametrize("length", [0, 31, 33, 56, 58])
def test_a_key_has_its_curve_s_length(length: int) -> None:
    """Neither more nor fewer bytes."""
    assert not is_sound(b"\3" * length, ED25519)
    assert not is_sound(b"\3" * length, ED448)

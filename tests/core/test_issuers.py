"""Secrets that must not be used."""

import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.core.tokens.issuers import check_secret, doubt_secret
from tests.support.signing import ec_key, jwk, rsa_key

PEM = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
SSH = rsa_key().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
SSH_EC = ec_key().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


@pytest.mark.parametrize("length", [32, 33, 64, 1000])
def test_a_secret_of_32_bytes_or_more_is_fine(length: int) -> None:
    """RFC 7518, section 3.2, for HS256."""
    assert check_secret(b"\xfe" * length) is None


@pytest.mark.parametrize("length", [0, 1, 16, 31])
def test_a_shorter_secret_is_refused(length: int) -> None:
    """The message says how long it is and how long it must be."""
    why = check_secret(b"\xfe" * length)
    assert why == f"it has {length} bytes, at least 32 are needed"


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_at_least_as_long_as_its_hash(algorithm: str, least: int) -> None:
    """RFC 7518, section 3.2."""
    assert check_secret(b"\xfe" * least, algorithm) is None
    why = check_secret(b"\xfe" * (least - 1), algorithm)
    assert why == f"it has {least - 1} bytes, at least {least} are needed"


@pytest.mark.parametrize(
    "secret",
    [
        b"jobfirst-unified-auth-secret-key-2024",
        b"zervigo-mvp-secret-key-2025",
        b"jobfirst-basic-secret-key-2024",
        b"jobfirst_jwt_secret_2024",
    ],
)
def test_a_secret_from_public_code_is_refused(secret: bytes) -> None:
    """However long it is, and with white space around it too."""
    for spelled in (secret, secret + b"\n", b" " + secret + b"\r\n"):
        why = check_secret(spelled)
        assert why is not None
        assert "public" in why


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(PEM, id="PEM"),
        pytest.param(b"\n" + PEM, id="PEM after a line break"),
        pytest.param(PEM.replace(b"PUBLIC", b"RSA PUBLIC"), id="PKCS #1"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n" + b"A" * 64, id="a certificate"),
        pytest.param(SSH, id="OpenSSH, RSA"),
        pytest.param(SSH_EC, id="OpenSSH, EC"),
        pytest.param(json.dumps(jwk(rsa_key())).encode(), id="JWK"),
        pytest.param(json.dumps({"keys": [jwk(ec_key())]}).encode(), id="JWKS"),
    ],
)
def test_a_public_key_is_refused_as_a_secret(secret: bytes) -> None:
    """Everybody has it, so everybody could sign."""
    why = check_secret(secret)
    assert why is not None
    assert "key" in why


@pytest.mark.parametrize("secret", [b"short", b"jobfirst_jwt_secret_2024", PEM])
def test_the_reason_never_shows_the_secret(secret: bytes) -> None:
    """It goes into a log."""
    why = check_secret(secret)
    assert why is not None
    assert secret.decode() not in why


@pytest.mark.parametrize("secret", [b"a" * 44, b"password" * 4, b"0123456" * 5])
def test_a_secret_of_few_different_characters_is_doubted(secret: bytes) -> None:
    """It may be used; the operator gets a warning."""
    assert check_secret(secret) is None
    assert "different characters" in (doubt_secret(secret) or "")


@pytest.mark.parametrize(
    "secret", [b"9f86d081884c7d659a2feaa0c55ad015", b"correct horse battery staple again"]
)
def test_a_secret_of_many_is_not(secret: bytes) -> None:
    """Hex digits are enough, and so is a phrase."""
    assert doubt_secret(secret) is None

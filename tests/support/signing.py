"""Keys, key sets and tokens for tests, made only with cryptography: neither PyJWT nor our code."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
Jwk = dict[str, Any]

HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


class Watcher(Protocol):
    """Receives each secret made here, to search for it in output."""

    def key(self, key: PrivateKey | bytes, /) -> None:
        """Take a private key or a secret, each time that it is used."""

    def token(self, token: str, /) -> None:
        """Take a token, good or bad."""


watchers: list[Watcher] = []


@cache
def rsa_key(name: str = "", bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """Return an RSA key; the same one for the same arguments as long as the process lives."""
    return rsa.generate_private_key(exponent, bits)


@cache
def ec_key(curve: str = "P-256", name: str = "") -> ec.EllipticCurvePrivateKey:
    """Return an EC key; see rsa_key."""
    return ec.generate_private_key(CURVES[curve])


@cache
def ed_key(curve: str = "Ed25519", name: str = "") -> PrivateKey:
    """Return an Edwards key; see rsa_key."""
    if curve == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    return ed25519.Ed25519PrivateKey.generate()


def b64(data: bytes) -> bytes:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).replace(b"=", b"")


def unb64(text: str | bytes) -> bytes:
    """Return what base64url without padding stands for."""
    raw = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))


def uint(number: int) -> str:
    """Return a Base64urlUInt (RFC 7518, section 2)."""
    return b64(number.to_bytes(max(1, (number.bit_length() + 7) // 8))).decode()


def jwk(key: PrivateKey, **members: Any) -> Jwk:
    """Return the public half as a JWK, with these further members."""
    for watcher in watchers:
        watcher.key(key)
    public: Jwk
    if isinstance(key, rsa.RSAPrivateKey):
        rsa_numbers = key.public_key().public_numbers()
        public = {"kty": "RSA", "n": uint(rsa_numbers.n), "e": uint(rsa_numbers.e)}
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        ec_numbers = key.public_key().public_numbers()
        crv = next(name for name, curve in CURVES.items() if curve.name == key.curve.name)
        octets = (key.curve.key_size + 7) // 8
        x, y = (b64(n.to_bytes(octets)).decode() for n in (ec_numbers.x, ec_numbers.y))
        public = {"kty": "EC", "crv": crv, "x": x, "y": y}
    else:
        crv = "Ed448" if isinstance(key, ed448.Ed448PrivateKey) else "Ed25519"
        x = b64(key.public_key().public_bytes_raw()).decode()
        public = {"kty": "OKP", "crv": crv, "x": x}
    return public | members


def jwks(*keys: object) -> bytes:
    """Return a key set's document."""
    return json.dumps({"keys": keys}).encode()


def sign(alg: str, key: PrivateKey | bytes, message: bytes) -> bytes:
    """Sign as ``alg`` says; for ``none`` and unknown names, return an empty signature."""
    signature = _signature(alg, key, message)
    for watcher in watchers:
        watcher.key(key)
        watcher.token((message + b"." + b64(signature)).decode("latin-1"))
    return signature


def _signature(alg: str, key: PrivateKey | bytes, message: bytes) -> bytes:
    family, size = alg[:2], alg[2:]
    if isinstance(key, bytes):
        if family != "HS":
            return b""
        return hmac.digest(key, message, f"sha{size}" if size in HASHES else "sha256")
    if isinstance(key, rsa.RSAPrivateKey):
        digest = HASHES.get(size, hashes.SHA256())
        if family == "PS":
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return key.sign(message, pss, digest)
        return key.sign(message, padding.PKCS1v15(), digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        der = key.sign(message, ec.ECDSA(HASHES.get(size, hashes.SHA256())))
        octets = (key.curve.key_size + 7) // 8
        return b"".join(n.to_bytes(octets) for n in decode_dss_signature(der))
    return key.sign(message)


def token(
    claims: Mapping[str, Any] | bytes,
    key: PrivateKey | bytes,
    alg: str,
    **header: Any,
) -> bytes:
    """Return a token; a header member of None is left out, claims as bytes go in as they are."""
    members = {"alg": alg, "typ": "JWT"} | header
    kept = {name: value for name, value in members.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return compact(json.dumps(kept).encode(), payload, key, alg)


def compact(header: bytes, payload: bytes, key: PrivateKey | bytes, alg: str) -> bytes:
    """Return a token of these very bytes, signed as ``alg`` says."""
    signing_input = b64(header) + b"." + b64(payload)
    return signing_input + b"." + b64(sign(alg, key, signing_input))


def thumbprint(members: Mapping[str, str]) -> str:
    """Return RFC 7638's thumbprint of the members that it asks for."""
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return b64(hashlib.sha256(canonical.encode()).digest()).decode()

"""What no output of the sidecar may hold: every token, secret and private key of a test run."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from sidecar.core.tokens import base64url
from tests.support import signing

PREFIX = 24  # characters of a part that are enough to know it by
_RUN = re.compile(rf"[A-Za-z0-9_-]{{{PREFIX},}}")
_LEAST_SECRET = 16  # a shorter one may occur anywhere by chance


class Secrecy:
    """Remembers what was made, and looks for it in what was written."""

    def __init__(self) -> None:
        self.leaks: list[str] = []
        self._parts: set[str] = set()
        self._secrets: set[str] = set()
        self._keys: set[object] = set()  # a key signs many tokens: it is taken apart once

    def watch(self) -> None:
        """Remember from now on every token that is signed, and what it is signed with.

        Those of PyJWT, which the demo's stand-ins sign with, and those of the tests' own signing.
        """
        encode: Callable[..., str] = jwt.PyJWS.encode

        def encode_and_remember(
            signer: jwt.PyJWS, payload: bytes, key: Any, *rest: Any, **more: Any
        ) -> str:
            token = encode(signer, payload, key, *rest, **more)
            self.token(token)
            self.key(key)
            return token

        jwt.PyJWS.encode = encode_and_remember  # type: ignore[method-assign,assignment]  # -- to see all
        signing.watchers.append(self)

    def token(self, token: str) -> None:
        """Remember a token by its payload and its signature; the header is not secret."""
        self._parts.update(part[:PREFIX] for part in token.split(".")[1:] if len(part) >= PREFIX)

    def key(self, key: object) -> None:
        """Remember a secret or a private key."""
        if key in self._keys:
            return
        self._keys.add(key)
        if isinstance(key, bytes) and len(key) >= _LEAST_SECRET:
            self._secrets.add(key.decode("latin-1"))
        elif isinstance(key, rsa.RSAPrivateKey):
            exponent = key.private_numbers().d
            self._octets(exponent.to_bytes((exponent.bit_length() + 7) // 8))
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            self._octets(key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8))
        elif isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
            self._octets(key.private_bytes_raw())

    def _octets(self, octets: bytes) -> None:
        """Remember a private key as a JWK would hold it."""
        self._parts.add(base64url.encode(octets).decode()[:PREFIX])

    def search(self, written: str, where: str) -> None:
        """Note what is in ``written`` and must not be."""
        self.leaks += [f"{where}: {secret}" for secret in self.found(written)]

    def found(self, written: str) -> Iterator[str]:
        """Give what is in ``written`` and must not be, never the whole of it."""
        runs = {run[:PREFIX] for run in _RUN.findall(written)}
        for part in runs & self._parts:
            yield f"a token or key: {part}..."
        for secret in self._secrets:
            if secret in written:
                yield f"a secret: {secret[:6]}..."
        if "PRIVATE KEY-" in written:
            yield "a private key"


SECRECY = Secrecy()

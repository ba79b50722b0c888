"""What no output of the sidecar may hold: every token, secret and private key of a test run."""

import re
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sidecar.core import base64url

PREFIX = 24  # characters of a part that are enough to know it by
_RUN = re.compile(rf"[A-Za-z0-9_-]{{{PREFIX},}}")
_LEAST_SECRET = 16  # a shorter one may stand anywhere by chance


class Secrecy:
    """Remembers what was made, and looks for it in what was written."""

    def __init__(self) -> None:
        self.leaks: list[str] = []
        self._parts: set[str] = set()
        self._secrets: set[str] = set()

    def watch(self) -> None:
        """Remember from now on every token that PyJWT signs, and what it signs it with."""
        encode: Callable[..., str] = jwt.PyJWS.encode

        def encode_and_remember(
            signer: jwt.PyJWS, payload: bytes, key: Any, *rest: Any, **more: Any
        ) -> str:
            token = encode(signer, payload, key, *rest, **more)
            self.token(token)
            self.key(key)
            return token

        jwt.PyJWS.encode = encode_and_remember  # type: ignore[method-assign,assignment]  # -- to see all

    def token(self, token: str) -> None:
        """Remember a token by its payload and its signature; the header is no secret."""
        self._parts.update(part[:PREFIX] for part in token.split(".")[1:] if len(part) >= PREFIX)

    def key(self, key: object) -> None:
        """Remember a secret or a private key."""
        if isinstance(key, bytes) and len(key) >= _LEAST_SECRET:
            self._secrets.add(key.decode("latin-1"))
        elif isinstance(key, rsa.RSAPrivateKey):
            self._number(key.private_numbers().d)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            self._number(key.private_numbers().private_value)

    def _number(self, number: int) -> None:
        octets = number.to_bytes((number.bit_length() + 7) // 8)
        self._parts.add(base64url.encode(octets).decode()[:PREFIX])

    def search(self, written: str, where: str) -> None:
        """Note what is in ``written`` and must not be."""
        runs = {run[:PREFIX] for run in _RUN.findall(written)}
        for part in runs & self._parts:
            self.leaks.append(f"{where}: a token or key: {part}...")
        for secret in self._secrets:
            if secret in written:
                self.leaks.append(f"{where}: a secret: {secret[:6]}...")
        if "PRIVATE KEY-" in written:
            self.leaks.append(f"{where}: a private key")


SECRECY = Secrecy()

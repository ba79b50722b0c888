"""Reads an issuer's directory, and makes its keys, its key set and its tokens."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sidecar.documents import own_yaml
from tests.support import signing
from tests.support.signing import PrivateKey, b64

ROOT = Path(__file__).parent
NAMES = tuple(sorted(path.parent.name for path in ROOT.glob("*/jwks.json")))

_MADE = re.compile(r"<([a-z]+-\w+)\.([\w#]+)>")
_TIME = re.compile(r"now([+-]\d+)?")
_MAKERS: Mapping[str, Callable[..., PrivateKey]] = {
    "rsa": signing.rsa_key,
    "ec": signing.ec_key,
    "ed": signing.ed_key,
}


class Token(NamedTuple):
    """One token of ``tokens.yaml``; ``expected`` has reason, and perhaps headers and detail."""

    name: str
    key: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    expected: Mapping[str, Any]

    def signed(self, now: float) -> bytes:
        """Return the token at this time; members of null are left out."""
        header, claims = _filled(self.header, now), _filled(self.claims, now)
        header.setdefault("typ", None)
        return signing.token(claims, _key(self.key), header.pop("alg"), **header)


def tokens(name: str) -> list[Token]:
    """Return an issuer's tokens."""
    read = own_yaml.read(ROOT / name / "tokens.yaml")
    return [
        Token(each["name"], each["key"], each["header"], each["claims"], each["expect"])
        for each in read
    ]


def key_set(name: str) -> bytes:
    """Return an issuer's key set."""
    document = (ROOT / name / "jwks.json").read_text()
    return _MADE.sub(lambda found: _member(*found.groups()), document).encode()


def block(name: str) -> str:
    """Return an issuer's configuration."""
    return (ROOT / name / "sidecar.yaml").read_text()


def _filled(value: Any, now: float) -> Any:
    match value:
        case dict():
            return {name: _filled(each, now) for name, each in value.items()}
        case list():
            return [_filled(each, now) for each in value]
        case str() if found := _TIME.fullmatch(value):
            return int(now) + int(found[1] or 0)
        case str():
            return _MADE.sub(lambda found: _member(*found.groups()), value)
    return value


def _key(name: str) -> PrivateKey:
    return _MAKERS[name.partition("-")[0]](name=name)


@cache
def _member(name: str, member: str) -> str:
    key = _key(name)
    match member:
        case "spki":  # Kubernetes' kid
            public = key.public_key()
            der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return b64(hashlib.sha256(der).digest()).decode()
        case "x5c":
            return base64.b64encode(_certificate(name)).decode()
        case "x5t":
            return b64(hashlib.sha1(_certificate(name)).digest()).decode()
        case "x5t#S256":
            return b64(hashlib.sha256(_certificate(name)).digest()).decode()
    found: str = signing.jwk(key)[member]
    return found


@cache
def _certificate(name: str) -> bytes:
    key: Any = _key(name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )

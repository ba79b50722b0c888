"""What a document that is not a JWKS is instead, in words for the operator."""

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_SHOWN: Final = 300
"""Characters of an address in a message, which is one line of a log."""

_ADDRESS = re.compile(r"https?://[!-?A-~]+")  # visible ASCII without @: no credentials
_BEGINNINGS = (
    (b"\xef\xbb\xbf", "not JSON: it begins with a byte order mark (BOM)"),
    (b"\xff\xfe", "not UTF-8: it begins with the byte order mark (BOM) of UTF-16"),
    (b"\xfe\xff", "not UTF-8: it begins with the byte order mark (BOM) of UTF-16"),
    (b"\x1f\x8b", "not JSON but gzip, without the header content-encoding"),
    (b"<", "not JSON but HTML or XML"),
    (b"-----BEGIN ", "not JSON but PEM"),
    (b"ssh-", "not JSON but a key of OpenSSH"),
    (b"eyJ", "not JSON but a token (JWT)"),
)
_NO_KEYS = 'not a JWKS: not an object with a list "keys"'


def known_by_its_beginning(document: bytes) -> str | None:
    """Return what a document is that cannot be JSON, None if it may be JSON."""
    begins = document.lstrip()[:16]
    if not begins:
        return "not JSON: it is empty"
    return next((what for beginning, what in _BEGINNINGS if begins.startswith(beginning)), None)


def other_than_jwks(value: object) -> str:
    """Return what a JSON document without a list ``keys`` is."""
    if isinstance(value, list):
        return f"{_NO_KEYS} but a list"
    if not isinstance(value, dict):
        return _NO_KEYS
    if "jwks_uri" in value:
        return f"{_NO_KEYS} but an OpenID configuration{_jwks_uri(value)}"
    if "kty" in value:
        return f"{_NO_KEYS} but a single key (JWK)"
    texts = [text for text in value.values() if isinstance(text, str)]
    if value and len(texts) == len(value) and all("-----BEGIN " in text for text in texts):
        return (
            f"{_NO_KEYS} but a map of certificates (X.509); Google serves the same keys as a JWKS"
            " where the path has /jwk/ instead of /metadata/x509/"
        )
    if not {"error", "errors", "message", "code"}.isdisjoint(value):
        return f"{_NO_KEYS} but an error's description"
    return _NO_KEYS


def _jwks_uri(value: Mapping[str, Any]) -> str:
    address = value["jwks_uri"]
    if isinstance(address, str) and len(address) <= MAX_SHOWN and _ADDRESS.fullmatch(address):
        return f"; its jwks_uri is {address}"
    return ""

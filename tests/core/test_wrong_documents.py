"""A document that is not a JWKS is named for what it is."""

import gzip
import json

import pytest

from tests.core.test_keys import GOOD, refusal
from tests.support.signing import jwks

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CONFIGURATION = {"issuer": "https://a.example", "jwks_uri": "https://a.example/keys?v=2"}


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (json.dumps(CONFIGURATION), "an OpenID configuration; its jwks_uri is https://a.example/k"),
        (json.dumps(GOOD), "a single key (JWK)"),
        (json.dumps([GOOD]), "a list"),
        (json.dumps({"kid 1": CERTIFICATE, "kid 2": CERTIFICATE}), "a map of certificates (X.509)"),
        (json.dumps({"error": "not_found"}), "an error's description"),
        (json.dumps({"kind": "Status", "code": 403, "message": "no"}), "an error's description"),
        ("<!doctype html><title>502</title>", "HTML or XML"),
        ("\n<?xml version='1.0'?>", "HTML or XML"),
        ("\ufeff" + jwks(GOOD).decode(), "a byte order mark (BOM)"),
        (CERTIFICATE, "PEM"),
        ("ssh-ed25519 AAAA", "a key of OpenSSH"),
        ("eyJhbGciOiJub25lIn0.e30.", "a token (JWT)"),
        ("", "it is empty"),
        (" \n", "it is empty"),
    ],
)
def test_a_wrong_document_is_named(document: str, name: str) -> None:
    """The operator sees which address or file was configured by mistake."""
    assert name in refusal(document.encode())


def test_bytes_that_are_no_text_are_named_too() -> None:
    """UTF-16 with its mark, and gzip that nothing announced."""
    assert "UTF-16" in refusal(jwks(GOOD).decode().encode("utf-16"))
    assert "gzip" in refusal(gzip.compress(jwks(GOOD)))


@pytest.mark.parametrize(
    "address",
    [
        *(7, None, "", "javascript:alert(1)", "https://user:secret@a.example/", "https://a\n.b/"),
        *("https://" + "a" * 300, "https://a.example/\u202e"),
    ],
)
def test_only_a_plain_address_is_quoted(address: object) -> None:
    """Nothing else of a document reaches the log."""
    found = refusal(json.dumps(CONFIGURATION | {"jwks_uri": address}).encode())
    assert found.endswith("but an OpenID configuration")

"""The literal tokens of tests/cases: made up here, written there by ``python -m``.

Everything is fixed (EdDSA signs the same each time), so a test can tell that the files are these.
"""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.signing import jwk, token

CASES = Path(__file__).parents[1] / "cases"
NOW = 1795262400  # 2026-11-21T12:00:00Z, the clock of the cases
SECRET = b"made up for the cases of this project, worth nothing"

KEY = Ed25519PrivateKey.from_private_bytes(b"a key of the cases of no value..")
OTHER = Ed25519PrivateKey.from_private_bytes(b"another key that no issuer has..")

ALICE: dict[str, Any] = {"iss": "zervi", "aud": "jobfirst", "sub": "7", "roles": ["user"]}


def _signed(
    key: Ed25519PrivateKey = KEY, kid: str = "k1", alg: str = "EdDSA", **claims: Any
) -> str:
    times = {"exp": NOW + 600}
    return token({**ALICE, **times, **claims}, key, alg, kid=kid).decode()


def _secret(**claims: Any) -> str:
    return token(
        {"user_id": 7, "role": "user", "exp": NOW + 600, **claims}, SECRET, "HS256"
    ).decode()


def literal_tokens() -> dict[str, str]:
    """Return each token by what it is."""
    good = _signed()
    return {
        "signed": good,
        "shared_secret": _secret(iss="jobfirst-auth"),
        "no_issuer_named": _secret(),
        "within_leeway": _signed(exp=NOW - 29),
        "three_words": "not.a.token",
        "not_a_token": "x",
        "expired": _signed(exp=NOW - 31),
        "not_yet_valid": _signed(nbf=NOW + 31),
        "tampered": good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB"),
        "signed_by_another": _signed(OTHER),
        "unknown_key": _signed(OTHER, "k2"),
        "wrong_secret": token(
            {"user_id": 7, "exp": NOW + 600}, b"another secret, just as long as it", "HS256"
        ).decode(),
        "unsigned": _signed(alg="none"),
        "keyed_by_the_public_key": token(
            {**ALICE, "exp": NOW + 600}, KEY.public_key().public_bytes_raw(), "HS256"
        ).decode(),
        "unknown_issuer": _signed(iss="somebody"),
        "other_audience": _signed(aud="elsewhere"),
        "no_expiry": token(ALICE, KEY, "EdDSA", kid="k1").decode(),
        "no_subject": token(
            {"iss": "zervi", "aud": "jobfirst", "exp": NOW + 600}, KEY, "EdDSA", kid="k1"
        ).decode(),
        "refresh": _signed(token_type="refresh"),
        "of_an_issuer_without_keys": _signed(iss="far-away"),
    }


def files() -> dict[Path, str]:
    """Return the content of each file that holds something of these."""
    lines = ["# Written by: python -m tests.support.case_tokens", "principals:"]
    lines += [f"  {name}: {{token: {json.dumps(text)}}}" for name, text in literal_tokens().items()]
    public = jwk(KEY, kid="k1", alg="EdDSA", use="sig")
    return {
        CASES / "tokens.fixtures.yaml": "\n".join(lines) + "\n",
        CASES / "config" / "keys.json": json.dumps({"keys": [public]}, indent=2) + "\n",
        CASES / "config" / "secret.txt": SECRET.decode() + "\n",
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")

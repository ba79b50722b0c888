"""Reading a token strictly (JWS compact serialisation, RFC 7515) before any cryptography."""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.tokens import base64url, strict_json
from sidecar.core.tokens.errors import TokenError, TokenProblem

# The default: servers often take no longer header, and the tokens of the field stay below 2 KiB.
MAX_TOKEN_BYTES: Final = 8 * 1024
_DOTS_OF_JWS: Final = 2
_DOTS_OF_JWE: Final = 4  # RFC 7516, section 3.1

# How base64url of a JSON object begins: `{`, or white space before it.
_BEGINNING: Final = (b"e", b"I", b"C", b"D")

MAX_KID_CHARS: Final = 256  # a SHA-512 thumbprint in hexadecimal has 128

# Members that change what a token means (encryption, compression, an unencoded or nested payload,
# extensions that must be understood): none is needed here, and a reader that skips them reads
# another token.
FORBIDDEN_HEADERS = frozenset({"crit", "b64", "zip", "enc", "cty"})

# RFC 8725, section 3.11: explicit typing keeps tokens for other purposes out (RFC 9068: at+jwt).
TOKEN_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})


# How base64url of `{"` begins: a JWT that lacks a part is not an opaque token, and may be another
# issuer's.
_JSON: Final = b"eyJ"


class UnverifiedToken(NamedTuple):
    """A token whose signature is not verified; ``signature`` signs ``signing_input``."""

    alg: str
    kid: str | None
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def read(token: bytes, max_bytes: int = MAX_TOKEN_BYTES) -> UnverifiedToken:
    """Return the parts of a token.

    Raises TokenError: token_malformed, or token_kind for a ``typ`` that is not an access
    token's. Keys that the token itself names (``jku``, ``x5u``, ``jwk``, ``x5c``) are ignored.
    """
    if len(token) > max_bytes:
        needs = (TokenProblem.TOO_LONG, str(max_bytes))
        detail = f"longer than {max_bytes} bytes, see zervi.token_max_bytes"
        raise TokenError(Reason.TOKEN_MALFORMED, detail, needs)
    dots = token.count(b".")
    if dots == _DOTS_OF_JWE:
        detail = "five parts: an encrypted token (JWE)"
        raise TokenError(Reason.TOKEN_MALFORMED, detail, (TokenProblem.ENCRYPTED,))
    if dots != _DOTS_OF_JWS or not token.startswith(_BEGINNING):
        detail = "not three parts" if dots != _DOTS_OF_JWS else "the header is not a JSON object"
        raise TokenError(Reason.TOKEN_MALFORMED, detail, (TokenProblem.OPAQUE,))
    signing_input, _, signature_part = token.rpartition(b".")
    header_part, _, claims_part = signing_input.partition(b".")
    alg, kid = _read_header(header_part)
    claims = _json_object(claims_part, "payload")
    signature = _bytes(signature_part, "signature")
    # A NamedTuple's own constructor takes twice as long.
    return tuple.__new__(UnverifiedToken, (alg, kid, claims, signing_input, signature))


def is_opaque(token: bytes) -> bool:
    """Say whether a token is not a JWT, not even a broken or an encrypted one."""
    dots = token.count(b".")
    if dots == _DOTS_OF_JWE or token.startswith(_JSON):
        return False
    return dots != _DOTS_OF_JWS or not token.startswith(_BEGINNING)


@lru_cache(maxsize=64)  # all tokens of a key begin alike; errors are not cached
def _read_header(part: bytes) -> tuple[str, str | None]:
    header = _json_object(part, "header")
    if not FORBIDDEN_HEADERS.isdisjoint(header):
        forbidden = ", ".join(sorted(FORBIDDEN_HEADERS.intersection(header)))
        raise _malformed(f"the header has {forbidden}")
    alg = header.get("alg")
    if not isinstance(alg, str):
        raise _malformed("the header's alg is not a string")
    kid = header.get("kid")
    if "kid" in header and not (isinstance(kid, str) and len(kid) <= MAX_KID_CHARS):
        raise _malformed(f"the header's kid is not a string of at most {MAX_KID_CHARS} characters")
    typ = header.get("typ")
    if "typ" in header and not (isinstance(typ, str) and typ.lower() in TOKEN_TYPES):
        raise TokenError(Reason.TOKEN_KIND, "the header's typ is not an access token's")
    return alg, kid or None  # an empty kid, which some libraries send, names no key


def _json_object(part: bytes, what: str) -> dict[str, Any]:
    try:
        value = strict_json.loads(_bytes(part, what))
    except strict_json.StrictJsonError as error:
        raise _malformed(f"{what}: {error}") from None
    if not isinstance(value, dict):
        raise _malformed(f"{what}: not a JSON object")
    return value


def _bytes(part: bytes, what: str) -> bytes:
    try:
        return base64url.decode(part)
    except ValueError:
        raise _malformed(f"{what}: not canonical base64url without padding") from None


def _malformed(detail: str) -> TokenError:
    return TokenError(Reason.TOKEN_MALFORMED, detail)

"""The rule for tokens, written a second time from design 6, 8 and 9, with none of our code.

Slow and plain on purpose: its own base64url, its own JSON, cryptography's verification. It says
every condition that a token breaks, so that a test can ask whether the code under test allows
what breaks none, and names one of those broken.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.support.plain_json import PlainJsonError, parse

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
VISIBLE = {chr(code) for code in range(33, 127)} - {"%"}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


class RuleKey(NamedTuple):
    """A public key of cryptography's, and what its JWK says it is for."""

    kid: str | None
    algorithms: tuple[str, ...]
    public: Any


class RuleIssuer(NamedTuple):
    """An issuer as the rule needs it; ``ready`` says that its keys are there and not stale."""

    name: str
    algorithms: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    allow_missing_issuer: bool = False
    secrets: tuple[bytes, ...] = ()
    keys: tuple[RuleKey, ...] = ()
    ready: bool = True
    role_permissions: Mapping[str, tuple[str, ...]] = {}
    grantable: tuple[str, ...] = ("*",)
    grantable_roles: tuple[str, ...] = ("*",)
    digits: bool = False  # whether a subject is only ASCII digits, without a leading zero


def broken(raw: bytes, issuers: Sequence[RuleIssuer], now: float, leeway: float = 30.0) -> set[str]:
    """Return the reasons that may be given for refusing the token; none means that it is good."""
    try:
        header, claims, signing_input, signature = _parts(raw)
    except (ValueError, PlainJsonError):
        # A header that can be read may be refused for its typ before the rest is looked at.
        return {"token_malformed"} | ({"token_kind"} if _foreign_typ(raw) else set())
    form = set()
    if any(name in header for name in ("crit", "b64", "zip", "enc", "cty")):
        form.add("token_malformed")
    if type(header.get("alg")) is not str:
        form.add("token_malformed")
    if "kid" in header and not (type(header["kid"]) is str and len(header["kid"]) <= 256):
        form.add("token_malformed")
    if "typ" in header and not _is_access_typ(header["typ"]):
        form.add("token_kind")
    if form:
        return form
    reasons = _times(claims, now, leeway) | _kind(claims)
    issuer = _issuer(header["alg"], claims, issuers)
    if isinstance(issuer, str):
        return reasons | {issuer}
    if issuer.audiences and not _is_for(claims.get("aud"), issuer.audiences):
        reasons.add("token_audience")
    if issuer.secrets:
        digests = [hmac.digest(secret, signing_input, "sha256") for secret in issuer.secrets]
        reasons |= set() if signature in digests else {"token_signature"}
    else:
        keys = _keys(header, issuer)
        if isinstance(keys, str):
            return reasons | {keys}
        if not any(_verifies(header["alg"], key.public, signing_input, signature) for key in keys):
            named = header.get("kid") in [key.kid for key in issuer.keys if key.kid]
            reasons.add("token_signature" if named else "needs_key")
    if not _names_somebody(claims, issuer):
        reasons.add("token_claims")
    return reasons


def _parts(raw: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    if len(raw) > 8192:
        raise ValueError("too long")
    first, second, third = raw.split(b".")
    header, claims = parse(_decode(first)), parse(_decode(second))
    if type(header) is not dict or type(claims) is not dict:
        raise ValueError("not objects")
    return header, claims, first + b"." + second, _decode(third)


def _decode(part: bytes) -> bytes:
    bits = ""
    for character in part.decode("ascii"):
        bits += f"{ALPHABET.index(character):06b}"
    whole = len(bits) // 8 * 8
    if len(bits) - whole >= 6 or "1" in bits[whole:]:
        raise ValueError("not canonical")
    return bytes(int(bits[at : at + 8], 2) for at in range(0, whole, 8))


def _foreign_typ(raw: bytes) -> bool:
    try:
        header = parse(_decode(raw.split(b".")[0]))
    except (ValueError, PlainJsonError):
        return False
    return type(header) is dict and "typ" in header and not _is_access_typ(header["typ"])


def _is_access_typ(typ: object) -> bool:
    known = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")
    return type(typ) is str and typ.lower() in known


def _times(claims: Mapping[str, Any], now: float, leeway: float) -> set[str]:
    present = [name for name in ("exp", "nbf", "iat") if name in claims]
    good = {
        name
        for name in present
        if type(claims[name]) in (int, float) and 0 <= claims[name] <= 253402300799
    }
    reasons = set()
    if "exp" not in present or good != set(present):
        reasons.add("token_claims")
    if "exp" in good and claims["exp"] + leeway <= now:
        reasons.add("token_expired")
    if "nbf" in good and claims["nbf"] - leeway > now:
        reasons.add("token_not_yet_valid")
    return reasons


def _kind(claims: Mapping[str, Any]) -> set[str]:
    token = claims.get("token")
    values = [claims.get(name) for name in ("token_type", "token_use", "typ", "type")]
    each = [item for value in values for item in (value if type(value) is list else [value])]
    marks = {item.lower() for item in each if type(item) is str}
    other = (
        type(token) is str and token[:8] == "refresh-",
        marks
        & {
            "refresh",
            "refresh_token",
            "refresh-token",
            "offline",
            "logout",
            "logout+jwt",
            "dpop",
            "id",
        },
        claims.get("cnf") is not None,
        type(claims.get("events")) is dict,
        claims.get("at_hash") is not None,
        claims.get("iss") is not None and claims.get("iss") == claims.get("sub"),
    )
    return {"token_kind"} if any(other) else set()


def _issuer(alg: str, claims: Mapping[str, Any], issuers: Sequence[RuleIssuer]) -> RuleIssuer | str:
    iss = claims.get("iss")
    if iss is None:
        named = [issuer for issuer in issuers if issuer.allow_missing_issuer]
    else:
        named = [issuer for issuer in issuers if type(iss) is str and issuer.name == iss]
    if not named:
        return "token_issuer"
    able = [issuer for issuer in named if alg in issuer.algorithms]
    return able[0] if able else "token_algorithm"


def _is_for(aud: object, audiences: tuple[str, ...]) -> bool:
    if type(aud) is str:
        return aud in audiences
    if type(aud) is not list or any(type(item) is not str for item in aud):
        return False
    return any(audience in aud for audience in audiences)


def _keys(header: Mapping[str, Any], issuer: RuleIssuer) -> list[RuleKey] | str:
    if not issuer.ready:
        return "not_ready"
    kid = header.get("kid") or None
    named = [key for key in issuer.keys if kid is not None and key.kid == kid]
    if named:
        return named if header["alg"] in named[0].algorithms else "token_algorithm"
    fitting = [key for key in issuer.keys if header["alg"] in key.algorithms]
    without_kid = [key for key in fitting if key.kid is None]
    return without_kid if kid is not None else fitting


def _verifies(alg: str, public: Any, message: bytes, signature: bytes) -> bool:
    digest = HASHES.get(alg[2:])
    try:
        if isinstance(public, rsa.RSAPublicKey) and digest:
            scheme: padding.AsymmetricPadding = padding.PKCS1v15()
            if alg[:2] == "PS":
                scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
            public.verify(signature, message, scheme, digest)
        elif isinstance(public, ec.EllipticCurvePublicKey) and digest:
            size = (public.curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                return False
            r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
            public.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))
        else:
            public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _names_somebody(claims: Mapping[str, Any], issuer: RuleIssuer) -> bool:
    service = claims.get("service_id")
    said = [claims[name] for name in ("user_id", "sub") if claims.get(name) not in (None, "")]
    subject: Any = service if service is not None else said[0] if said else None
    if type(subject) is int:
        subject = str(subject)
    if type(subject) is not str or not subject:
        return False
    plain = set(subject) <= set("0123456789") and subject[0] != "0" and len(subject) <= 128
    if issuer.digits and not plain:
        return False
    roles: dict[str, None] = {}
    for name in ("role", "roles"):
        value = claims.get(name)
        for item in value if type(value) is list else [value]:
            text = str(item) if type(item) in (str, int) else ""
            if text and _is_listed(text, issuer.grantable_roles):
                roles[text] = None
    permissions: dict[str, None] = {}
    own = claims.get("permissions")
    granted = [permission for role in roles for permission in issuer.role_permissions.get(role, ())]
    listed = [str(item) for item in own if type(item) in (str, int)] if type(own) is list else []
    for item in [*listed, *granted]:
        if item and _is_listed(item, issuer.grantable):
            permissions[item] = None
        elif item == "*":
            permissions |= dict.fromkeys(issuer.grantable)
    sent = {"x-user-issuer": _length(issuer.name)}
    sent["x-user-id" if service is None else "x-service-id"] = _length(subject)
    for header, claim in (("x-username", "username"), ("x-user-email", "email")):
        value = claims.get(claim)
        named = service is None and type(value) in (str, int)
        sent[header] = _length(str(value)) if named else 0
    for header, items in (("x-user-role", roles), ("x-user-permissions", permissions)):
        sent[header] = sum(_length(item, ",") for item in items) + max(0, len(items) - 1)
    return sum(len(header) + length for header, length in sent.items() if length) <= 8192


def _is_listed(name: str, patterns: tuple[str, ...]) -> bool:
    for pattern in patterns:
        head, star, _ = pattern.partition("*")
        if name == pattern or (star and name[: len(head)] == head):
            return True
    return False


def _length(text: str, more: str = "") -> int:
    return sum(
        1 if character in VISIBLE and character not in more else 3 * len(character.encode())
        for character in text
    )

"""Keys and tokens of the stand-in for Zervi, for the demo's scenario and for tests.

Everything here is made up as it is needed: no key in this project ever signed anything real.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

JWKS_ISSUER = "https://zervi.jobfirst.local"
AUDIENCE = "jobfirst"
TOKEN_SECONDS = 168 * 3600  # as long as unified-auth's tokens live

Claims = dict[str, Any]
KeyAlgorithm = Literal["RS256", "ES256"]


class User(NamedTuple):
    """One account of the stand-in; ``permissions`` are what its own tokens carry."""

    user_id: int
    username: str
    role: str
    level: int
    permissions: tuple[str, ...] = ()

    @property
    def email(self) -> str:
        """The account's address, ASCII whatever the user name is."""
        return f"user{self.user_id}@jobfirst.local"

    @property
    def password(self) -> str:
        """The account's password: plainly made up, so that it can be typed from the README."""
        return f"{self.username}-made-up"


class Service(NamedTuple):
    """One service account of the stand-in."""

    service_id: str
    service_name: str
    allowed_apis: tuple[str, ...] = ()

    @property
    def secret(self) -> str:
        """The service's secret: plainly made up."""
        return f"{self.service_id}-made-up"


USERS = {
    user.username: user
    for user in (
        User(1, "guest", "guest", 1),
        User(2, "alice", "user", 2, ("profile:read", "profile:write")),
        User(3, "bob", "admin", 3, ("profile:read", "profile:write", "user:manage")),
        User(4, "root", "super_admin", 4, ("*",)),
        User(5, "张伟", "user", 2, ("profile:read", "profile:write")),
    )
}
SERVICES = {
    service.service_id: service
    for service in (
        Service("basic-server", "Basic Server", ("service:register", "/api/sync/*")),
        Service("looma", "Looma CRM", ("*",)),
        Service("gateway", "Central gateway", ("/api/*",)),
    )
}


class SigningKey(NamedTuple):
    """A private key with its ``kid``; it signs only with ``algorithm``."""

    kid: str
    algorithm: KeyAlgorithm
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def new_key(kid: str, algorithm: KeyAlgorithm = "RS256") -> SigningKey:
    """Make a key; an RSA one takes some tenths of a second."""
    if algorithm == "RS256":
        return SigningKey(kid, algorithm, rsa.generate_private_key(65537, 2048))
    return SigningKey(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))


def public_jwk(key: SigningKey) -> dict[str, Any]:
    """Give the key's public half as a JWK (RFC 7517)."""
    algorithm = get_default_algorithms()[key.algorithm]
    jwk: dict[str, Any] = algorithm.to_jwk(key.private.public_key(), as_dict=True)
    return {**jwk, "kid": key.kid, "alg": key.algorithm, "use": "sig"}


def jwks(*keys: SigningKey) -> bytes:
    """Give the keys' public halves as a JWKS document."""
    return json.dumps({"keys": [public_jwk(key) for key in keys]}).encode()


def sign(claims: Mapping[str, Any], key: SigningKey | bytes) -> str:
    """Sign the claims just as they are: with a key, or with a secret and HS256."""
    if isinstance(key, bytes):
        return jwt.encode(dict(claims), key, algorithm="HS256")
    headers = {"kid": key.kid}
    return jwt.encode(dict(claims), key.private, algorithm=key.algorithm, headers=headers)


def forge(claims: Mapping[str, Any], key: SigningKey) -> str:
    """Sign with a key that is not the named one, though it says so: a forged signature."""
    return sign(claims, new_key(key.kid, key.algorithm))


def expired(claims: Mapping[str, Any], seconds: int = 3600) -> Claims:
    """Give the claims with every time moved back, so that they expired ``seconds`` ago."""
    shift = claims["exp"] - (int(time.time()) - seconds)
    moved = {name: claims[name] - shift for name in ("exp", "iat", "nbf") if name in claims}
    return {**claims, **moved}


def _times(now: int) -> Claims:
    return {"iat": now, "exp": now + TOKEN_SECONDS}


def _zervi(user: User, now: int) -> Claims:
    """Fill a token as the brief has it: signed with a key of the JWKS."""
    return {
        "iss": JWKS_ISSUER,
        "aud": AUDIENCE,
        "sub": str(user.user_id),
        "user_id": user.user_id,
        "username": user.username,
        "email": user.email,
        "role": user.role,
        "permissions": list(user.permissions),
        "nbf": now,
        **_times(now),
    }


def _unified_auth(user: User, now: int) -> Claims:
    return {
        "iss": "jobfirst-auth",
        "sub": str(user.user_id),
        "user_id": user.user_id,
        "username": user.username,
        "email": user.email,
        "role": user.role,
        "level": user.level,
        "permissions": list(user.permissions) or None,  # Go writes an empty slice as null
        "nbf": now,
        **_times(now),
    }


def _user_service(user: User, now: int) -> Claims:
    return {
        "user_id": user.user_id,
        "username": user.username,
        "role": user.role,
        **_times(now),
    }


def _basic_server(user: User, now: int) -> Claims:
    return {**_user_service(user, now), "role": "user"}


def _gateway(user: User, now: int) -> Claims:
    return {
        "user_id": str(user.user_id),
        "username": user.username,
        "roles": [user.role],
        "metadata": {"source": "gateway"},
        **_times(now),
    }


def _common_jwt(user: User, now: int) -> Claims:
    return {
        "iss": "jobfirst",
        "aud": ["jobfirst-users"],
        "user_id": user.user_id,
        "username": user.username,
        "role": user.role,
        **_times(now),
    }


def _refresh(user: User, now: int) -> Claims:
    return {**_common_jwt(user, now), "token": f"refresh-{user.user_id}-{now}"}


def _odd(user: User, now: int) -> Claims:
    """Fill a variant that exists: permissions are an object, times are floats."""
    times = {name: seconds + 0.25 for name, seconds in _times(now).items()}
    return {
        **_unified_auth(user, now),
        "permissions": dict.fromkeys(user.permissions, True),
        **times,
    }


# The claims of each kind of token that Zervi issues; all but the first are signed with the secret.
STYLES: Mapping[str, Callable[[User, int], Claims]] = {
    "zervi": _zervi,
    "unified-auth": _unified_auth,
    "user-service": _user_service,
    "basic-server": _basic_server,
    "gateway": _gateway,
    "common-jwt": _common_jwt,
    "refresh": _refresh,
    "odd": _odd,
}


def user_claims(username: str, style: str = "zervi", now: float | None = None) -> Claims:
    """Give the claims that Zervi would put into a token; ``now`` is seconds since the epoch.

    Raises KeyError for an unknown user name or style.
    """
    return STYLES[style](USERS[username], int(time.time() if now is None else now))


def service_claims(service_id: str, now: float | None = None) -> Claims:
    """Give the claims of a service token. Raises KeyError for an unknown service."""
    service = SERVICES[service_id]
    return {
        "iss": "zervigo-service-auth",
        "service_id": service.service_id,
        "service_name": service.service_name,
        "allowed_apis": list(service.allowed_apis),
        **_times(int(time.time() if now is None else now)),
    }

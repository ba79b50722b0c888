"""Callers for offline decisions: no token, a complete one, or claims that count as verified."""

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote

from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens import base64url
from sidecar.core.tokens.credentials import WEBSOCKET_PROTOCOL, TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.lookups import Granted
from sidecar.core.tokens.principal import Principal, identity_values, principal_from_claims
from sidecar.core.tokens.revocations import Marks
from sidecar.core.tokens.verify import MAX_TIME, TokenError, Verified, read_principal

FOREVER = float("inf")
PLACEHOLDER = b"placeholder"  # the token of a principal whose real token is unknown

_NO_MARKS = Marks(None, (), (), covered=False)  # nothing is known that an entry could name


class UnknownIssuerError(Exception):
    """The configuration does not have the issuer of the claims."""


class GivenClaims(NamedTuple):
    """Claims that count as verified.

    ``issuer`` names the issuer that counts as their signer; None: the one that ``iss`` names, else
    the one with ``allow_missing_issuer``, else the first.
    """

    claims: Mapping[str, Any]
    issuer: str | None = None


Caller = GivenClaims | Principal | bytes | None
"""Claims or a principal that count as verified, a complete token, or None for no token."""


class Taken(NamedTuple):
    """Claims in a token that a request can carry; its signature is not valid.

    ``entry`` is None for claims that are expired or not valid yet: verifying the token reports it.
    ``claimed`` are the permissions of the claims.
    """

    token: bytes
    entry: Verified | TokenError | None
    claimed: Granted = Granted(())


class TakenAsVerified(MutableMapping[bytes, Verified]):
    """The mapping in which ``decide`` looks up verified tokens, with some that count as verified.

    Invalid claims (such as no subject) raise TokenError at the lookup, where verifying would.
    """

    def __init__(self, *taken: Taken) -> None:
        self._taken = {hashlib.sha256(each.token).digest(): each.entry for each in taken}
        self._verified: dict[bytes, Verified] = {}

    def __getitem__(self, digest: bytes) -> Verified:
        entry = self._taken.get(digest)
        if entry is None:
            return self._verified[digest]
        if isinstance(entry, TokenError):
            raise entry
        return entry

    def __setitem__(self, digest: bytes, entry: Verified) -> None:
        self._verified[digest] = entry

    def __delitem__(self, digest: bytes) -> None:
        del self._verified[digest]

    def __iter__(self) -> Iterator[bytes]:
        return iter({**self._taken, **self._verified})

    def __len__(self) -> int:
        return len({**self._taken, **self._verified})


def take(given: GivenClaims | Principal, snapshot: Snapshot, now: float) -> Taken:
    """Return claims, or a known principal, as a token that counts as verified.

    ``exp`` and ``nbf``, if present, are compared with ``now`` (epoch seconds).
    Raises UnknownIssuerError.
    """
    if isinstance(given, Principal):
        try:
            return Taken(PLACEHOLDER, _entry(PLACEHOLDER, given, 0, snapshot))
        except TokenError as error:
            return Taken(PLACEHOLDER, error)
    index, issuer = _issuer_of(given, snapshot.issuers)
    # An unsigned token of this issuer, which is parsed like any other once it has expired.
    claims = {"exp": MAX_TIME, **given.claims, "iss": issuer.name}
    parts = ({"alg": min(issuer.algorithms)}, claims)
    token = b".".join(base64url.encode(json.dumps(part).encode()) for part in parts) + b".AA"
    until = _time(given.claims, "exp", FOREVER, -FOREVER) + snapshot.leeway
    since = _time(given.claims, "nbf", -FOREVER, FOREVER) - snapshot.leeway
    if not since <= now < until:
        return Taken(token, None)
    try:
        principal, asks = read_principal(given.claims, issuer, snapshot)
        entry = _entry(token, principal, index, snapshot)._replace(asks=asks)
        if (revocations := snapshot.revocations) is not None:
            if "exp" in given.claims:
                revocations.check_lifetime(given.claims, issuer.name, now)
            marks = revocations.marks_of(given.claims, entry.digest, principal)
            entry = entry._replace(marks=marks)
        own = principal_from_claims(given.claims, issuer)
        return Taken(token, entry, Granted(own.permissions))
    except TokenError as error:
        return Taken(token, error)


def known(principal: Principal) -> TakenAsVerified:
    """Return a mapping in which PLACEHOLDER is this principal's token, without identity headers."""
    return TakenAsVerified(Taken(PLACEHOLDER, _bare(PLACEHOLDER, principal, 0)))


def _entry(token: bytes, principal: Principal, issuer: int, snapshot: Snapshot) -> Verified:
    identity = identity_values(principal, snapshot.identity_headers)
    return _bare(token, principal, issuer)._replace(identity=identity)


def _bare(token: bytes, principal: Principal, issuer: int) -> Verified:
    return Verified(
        digest=hashlib.sha256(token).digest(),
        principal=principal,
        issuer=issuer,
        thumbprint=None,
        valid_from=-FOREVER,
        valid_until=FOREVER,
        cached_until=FOREVER,
        identity=(),
        marks=_NO_MARKS,
    )


def present(token: bytes, request: Request, source: TokenSource) -> Request:
    """Return the request with a token in ``source``."""
    if source.kind == "query":
        joint = b"&" if b"?" in request.target else b"?"
        pair = source.name.encode() + b"=" + token
        return request._replace(target=request.target + joint + pair)
    name, value = source.name, token
    if source.kind == "cookie":
        name, value = "cookie", source.name.encode() + b"=" + token
        own_page = {"sec-fetch-site": (b"same-origin",), **request.headers}
        request = request._replace(headers=own_page)
    elif source.kind == "websocket_protocol":
        name, value = WEBSOCKET_PROTOCOL, source.name.encode() + b", " + token
    elif source.scheme is not None:
        value = source.scheme.encode() + b" " + token
    headers = {**request.headers, name: (*request.headers.get(name, ()), value)}
    return request._replace(headers=headers)


def text_target(path: str) -> bytes:
    """Return a target as a client sends it: characters beyond ASCII are percent-encoded."""
    return "".join(char if char.isascii() else quote(char) for char in path).encode()


def _issuer_of(given: GivenClaims, issuers: tuple[Issuer, ...]) -> tuple[int, Issuer]:
    named = given.issuer
    iss = given.claims.get("iss")
    if named is None and isinstance(iss, str):
        named = iss
    for index, issuer in enumerate(issuers):
        if issuer.name == named if named is not None else issuer.allow_missing_issuer:
            return index, issuer
    if named is not None:
        names = ", ".join(sorted({issuer.name for issuer in issuers}))
        raise UnknownIssuerError(f"unknown issuer {named!r}; known: {names}")
    return 0, issuers[0]


def _time(claims: Mapping[str, Any], name: str, absent: float, wrong: float) -> float:
    """Return a claim's time; ``wrong`` if it is not a number: verifying the token reports it."""
    value = claims.get(name, absent)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else wrong

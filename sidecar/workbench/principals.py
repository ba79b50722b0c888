"""Caller: nobody, a literal token, or claims that are taken as verified."""

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote

from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens import base64url
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.principal import Principal, identity_values, principal_from_claims
from sidecar.core.tokens.verify import MAX_TIME, TokenError, Verified

FOREVER = float("inf")
PLACEHOLDER = b"placeholder"  # of a principal that is known without its token


class UnknownIssuerError(Exception):
    """GivenClaims are to be of an issuer that the configuration does not have."""


class GivenClaims(NamedTuple):
    """GivenClaims that are taken as verified.

    ``issuer`` names who is taken to have signed them; None: the one that ``iss`` names, else the
    one that tokens without ``iss`` belong to, else the first.
    """

    claims: Mapping[str, Any]
    issuer: str | None = None


Caller = GivenClaims | Principal | bytes | None
"""Caller: claims or a principal taken as verified, a literal token, nobody."""


class Taken(NamedTuple):
    """GivenClaims as a request can carry them: a token of this form, which no key has signed.

    ``entry`` is None for claims whose time is over or still to come: verifying says so.
    """

    token: bytes
    entry: Verified | TokenError | None


class TakenAsVerified(MutableMapping[bytes, Verified]):
    """Verified tokens, as ``decide`` looks them up, where some are taken as verified.

    What is wrong with claims whatever their signature (no subject) is raised where they are looked
    up, which is where verifying would raise it.
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
    """Return claims, or whom claims proved earlier, as a token that counts as verified.

    ``exp`` and ``nbf`` are judged at ``now`` (epoch seconds) where they are given.
    Raises UnknownIssuerError.
    """
    if isinstance(given, Principal):
        try:
            return Taken(PLACEHOLDER, _entry(PLACEHOLDER, given, 0, snapshot))
        except TokenError as error:
            return Taken(PLACEHOLDER, error)
    index, issuer = _issuer_of(given, snapshot.issuers)
    # A token that is read like any other once its time is over: its own issuer's, unsigned.
    claims = {"exp": MAX_TIME, **given.claims, "iss": issuer.name}
    parts = ({"alg": min(issuer.algorithms)}, claims)
    token = b".".join(base64url.encode(json.dumps(part).encode()) for part in parts) + b".AA"
    until = _time(given.claims, "exp", FOREVER, -FOREVER) + snapshot.leeway
    since = _time(given.claims, "nbf", -FOREVER, FOREVER) - snapshot.leeway
    if not since <= now < until:
        return Taken(token, None)
    try:
        principal = principal_from_claims(given.claims, issuer)
        return Taken(token, _entry(token, principal, index, snapshot))
    except TokenError as error:
        return Taken(token, error)


def known(principal: Principal) -> TakenAsVerified:
    """Return what makes PLACEHOLDER this principal's token; without headers for the upstream."""
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
    )


def present(token: bytes, request: Request, source: TokenSource) -> Request:
    """Return the request with a token where ``source`` says that one stands."""
    if source.kind == "query":
        joint = b"&" if b"?" in request.target else b"?"
        pair = source.name.encode() + b"=" + token
        return request._replace(target=request.target + joint + pair)
    name, value = source.name, token
    if source.kind == "cookie":
        name, value = "cookie", source.name.encode() + b"=" + token
    elif source.scheme is not None:
        value = source.scheme.encode() + b" " + token
    headers = {**request.headers, name: (*request.headers.get(name, ()), value)}
    return request._replace(headers=headers)


def text_target(path: str) -> bytes:
    """Return a target as a client sends it: text beyond ASCII is percent-encoded."""
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
        raise UnknownIssuerError(f"no issuer has the name {named!r}; there are: {names}")
    return 0, issuers[0]


def _time(claims: Mapping[str, Any], name: str, absent: float, wrong: float) -> float:
    """Return a claim's time; what is no time is ``wrong``, so that reading the token says so."""
    value = claims.get(name, absent)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else wrong

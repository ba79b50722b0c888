"""The principal of a token's claims, what it may do, and its headers for the upstream."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sidecar.core.reasons import Reason
from sidecar.core.routes.conditions import Kept, Steps, keep
from sidecar.core.routes.patterns import Pattern
from sidecar.core.routes.route import BOTH, USERS, Route
from sidecar.core.tokens.allowed_apis import allowed_apis, cover
from sidecar.core.tokens.claims import Claim, Split, as_text, first, single, texts
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.grantable import Patterns, patterns_of
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.memo import Memo
from sidecar.core.tokens.name_lists import (
    MAX_IDENTITY_BYTES,
    MAX_SHARED_BYTES,
    shared,
    too_large,
    union,
)

ALL_PERMISSIONS: Final = "*"

_headers: Final[Memo[str]] = Memo(MAX_SHARED_BYTES)

_MAX_PATTERNS: Final = 64  # of subjects, one per issuer

# A longer subject matches no pattern: the time that one takes is bounded. UUIDs, e-mail addresses
# and SPIFFE ids of usual length are within it.
MAX_MATCHED_SUBJECT: Final = 128

# Characters that an identity header holds unescaped: visible ASCII except the escape itself.
_VISIBLE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_ALL_VISIBLE: Final = re.compile(f"[{re.escape(_VISIBLE)}]*").fullmatch


class Kind(StrEnum):
    """Whether a token was issued to a person or to a service."""

    USER = "user"
    SERVICE = "service"


class Principal(NamedTuple):
    """A person or a service, from verified claims.

    ``permissions`` are names, and ``granted`` holds them for looking up. ``patterns`` replaces
    ``*`` where the issuer may not grant everything: the principal has each name that they match.
    ``headers`` are further headers for the upstream, from claims, with escaped values. ``apis`` are
    the only paths that a service may call (``allowed_apis``); None: every one.
    """

    kind: Kind
    subject: str
    issuer: str
    username: str | None = None
    email: str | None = None
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    granted: frozenset[str] = frozenset()
    patterns: Patterns | None = None
    headers: tuple[tuple[str, str], ...] = ()
    claims: tuple[tuple[Steps, Kept], ...] = ()
    apis: tuple[Pattern, ...] | None = None

    def claim(self, steps: Steps) -> Kept | None:
        """Return a claim that the policy names, None if the token has none that can be compared."""
        return next((value for name, value in self.claims if name == steps), None)


class IdentityHeaders(NamedTuple):
    """The header that carries each part of the principal to the upstream; lower-case.

    None: the upstream does not get that part.
    """

    subject: str | None = "x-user-id"
    username: str | None = "x-username"
    email: str | None = "x-user-email"
    roles: str | None = "x-user-role"
    permissions: str | None = "x-user-permissions"
    issuer: str | None = "x-user-issuer"
    service: str | None = "x-service-id"

    def never_from_clients(self) -> tuple[str, ...]:
        """Return the names that clients must not set: the default name for each that is off."""
        return tuple(
            default if name is None else name
            for name, default in zip(self, self._field_defaults.values(), strict=True)
        )


class Refusal(NamedTuple):
    """Why a principal may not use a route; ``needs`` is for the client.

    It names the missing permissions, all of which are needed; with ``any_of`` the permissions,
    roles, kinds or issuers of which one is needed. A permission that is denied without a name is
    that of a service to call this path (``allowed_apis``).
    """

    reason: Reason
    needs: tuple[str, ...]
    any_of: bool = True


_NOT_ALLOWED_API: Final = Refusal(Reason.PERMISSION_DENIED, ())


def principal_from_claims(
    claims: Mapping[str, Any], issuer: Issuer, wanted: Collection[Steps] = ()
) -> Principal:
    """Return the principal of a verified token's claims.

    A token with ``service_id`` is a service's, whatever else it carries, and so is one for which a
    rule of ``service_when`` holds; it has no username or email. A role that the issuer cannot grant
    is dropped and grants nothing; permissions are limited last, including those from roles. Of the
    claims only those of ``wanted`` are kept, which the policy names.

    Raises TokenError(token_claims) without a valid subject, and if its roles or permissions do not
    fit into the identity headers.
    """
    names = issuer.claims
    if claims.get("service_id") is not None:
        kind = Kind.SERVICE
        subject = _subject(claims["service_id"])
        username = email = None
    elif issuer.service_when and any(rule.holds(claims) for rule in issuer.service_when):
        kind = Kind.SERVICE
        subject = _subject(first(claims, names.subject))
        username = email = None
    else:
        kind = Kind.USER
        subject = _subject(first(claims, names.subject))
        username = as_text(first(claims, names.username))
        email = as_text(first(claims, names.email))
    apis = allowed_apis(claims.get("allowed_apis")) if kind is Kind.SERVICE else None
    if issuer.subject_pattern is not None and not _matches(issuer.subject_pattern, subject):
        raise TokenError(Reason.TOKEN_CLAIMS, "the subject does not match subject_pattern")
    listed = [texts(claims, claim, text_counts=True) for claim in names.roles]
    if issuer.grantable_roles is not None:
        listed = [filter(patterns_of(issuer.grantable_roles).hold, part) for part in listed]
    roles, _ = shared(listed)
    parts = [texts(claims, claim, text_counts=False) for claim in names.permissions]
    if issuer.role_permissions:
        parts += [issuer.role_permissions.get(role, ()) for role in roles]
    patterns = None
    if issuer.grantable is not None:
        parts, patterns = limited(parts, patterns_of(issuer.grantable))
    permissions, granted = shared(parts)
    headers = _claim_headers(claims, names.headers) if names.headers else ()
    kept = keep(claims, wanted) if wanted else ()
    # A NamedTuple's own constructor takes twice as long.
    return tuple.__new__(
        Principal,
        (
            *(kind, subject, issuer.name, username, email, roles, permissions, granted, patterns),
            *(headers, kept, apis),
        ),
    )


def permits(principal: Principal, route: Route, segments: Sequence[str]) -> Refusal | None:
    """Return why the principal may not use the route with this path, None where it may.

    ``*`` among the principal's permissions grants every permission, but no role, and does not make
    it the owner; neither do ``patterns``, which grant what they match.
    """
    if principal.kind not in route.principals:
        kinds = USERS if route.principals == BOTH else route.principals
        if principal.kind not in kinds:
            return Refusal(Reason.WRONG_PRINCIPAL_KIND, tuple(sorted(kinds)))
    if principal.apis is not None and cover(principal.apis, segments) is not True:
        return _NOT_ALLOWED_API
    if route.issuers and principal.issuer not in route.issuers:
        return Refusal(Reason.WRONG_ISSUER, tuple(sorted(route.issuers)))
    granted, patterns = principal.granted, principal.patterns
    if ALL_PERMISSIONS not in granted:
        if not granted.issuperset(route.permissions):
            missing = tuple(name for name in route.permissions if name not in granted)
            if patterns is not None:
                missing = tuple(name for name in missing if not patterns.hold(name))
            if missing:
                return Refusal(Reason.PERMISSION_DENIED, missing, any_of=False)
        any_of = route.any_permissions
        if (
            any_of
            and granted.isdisjoint(any_of)
            and (patterns is None or not any(map(patterns.hold, any_of)))
        ):
            return Refusal(Reason.PERMISSION_DENIED, any_of)
    if route.roles and not any(role in principal.roles for role in route.roles):
        return Refusal(Reason.ROLE_DENIED, route.roles)
    for condition in route.claims:
        captured = [route.captured(index, segments) for index in condition.segments]
        if not condition.holds(principal.claim(condition.claim), captured):
            return Refusal(Reason.CLAIM_DENIED, (condition.name,))
    if route.owner is not None and granted.isdisjoint(route.owner_unless):
        claim = route.owner_claim
        owner = principal.claim(claim) if claim else principal.subject
        # Neither a claim nor a segment that is missing equals the other.
        owns = owner is not None and owner == route.captured(route.owner, segments)
        if principal.kind is not Kind.USER or not owns:
            return Refusal(Reason.NOT_OWNER, ())
    return None


def permits_service(service: Principal, segments: Sequence[str]) -> Refusal | None:
    """Return why a service may not call this path for the user whose token came with its own."""
    if service.kind is not Kind.SERVICE:
        return Refusal(Reason.WRONG_PRINCIPAL_KIND, (Kind.SERVICE,))
    if service.apis is not None and cover(service.apis, segments) is not True:
        return _NOT_ALLOWED_API
    return None


def identity_values(principal: Principal, names: IdentityHeaders) -> tuple[tuple[str, str], ...]:
    """Return the identity headers for the upstream: those that have a value.

    Values are UTF-8, percent-encoded where not visible ASCII, and ``%``, and ``,`` inside lists.
    ``patterns`` are among the permissions as the operator wrote them: ``orders:*``.
    Raises TokenError(token_claims) when names and values exceed MAX_IDENTITY_BYTES together.
    """
    subject = names.subject if principal.kind is Kind.USER else names.service
    pairs = (
        (subject, principal.subject),
        (names.username, principal.username),
        (names.email, principal.email),
        (names.issuer, principal.issuer),
    )
    headers = [(name, text) for name, text in pairs if name and text is not None and text != ""]
    if not _ALL_VISIBLE("".join(chain.from_iterable(headers))):  # one look at all of them
        headers = [(name, _escaped(text)) for name, text in headers]
    lists = ((names.roles, principal.roles), (names.permissions, held_by(principal)))
    headers += [(name, _escaped_list(items)) for name, items in lists if name and items != ()]
    headers += principal.headers
    check_together(headers, ())
    return tuple(headers)


def check_together(user: Iterable[tuple[str, str]], service: Iterable[tuple[str, str]]) -> None:
    """Raise TokenError(token_claims) when a user's headers and a service's are too large."""
    if len("".join(chain.from_iterable((*user, *service)))) > MAX_IDENTITY_BYTES:
        raise too_large()


def held_by(principal: Principal) -> tuple[str, ...]:
    """Return the permissions of a principal, and then its ``patterns``, each once."""
    if principal.patterns is None:
        return principal.permissions
    return tuple(dict.fromkeys((*principal.permissions, *principal.patterns.texts)))


def _claim_headers(
    claims: Mapping[str, Any], names: Mapping[str, tuple[Claim, ...]]
) -> tuple[tuple[str, str], ...]:
    """Return the headers whose claims have a value: for each, the first claim that has one."""
    found = ((name, _header_value(claims, among)) for name, among in names.items())
    return tuple((name, value) for name, value in found if value)


def _header_value(claims: Mapping[str, Any], among: tuple[Claim, ...]) -> str:
    """Return the escaped value of the first claim that has one; lists are joined by commas."""
    for claim in among:
        value = single(claims, claim)
        if isinstance(value, bool):
            return "true" if value else "false"
        text = None if isinstance(claim, Split) else as_text(value)
        if text is None:
            value = _escaped_list(union([texts(claims, claim, text_counts=True)]))
        else:
            value = _escaped(text)
        if value:
            return value
    return ""


def _subject(value: object) -> str:
    text = as_text(value)
    if text:
        return text
    raise TokenError(Reason.TOKEN_CLAIMS, "the subject is missing, or not text or an integer")


def _matches(pattern: str, subject: str) -> bool:
    return len(subject) <= MAX_MATCHED_SUBJECT and bool(_compiled(pattern).fullmatch(subject))


@lru_cache(_MAX_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)  # to int() and to str, ７ is a digit too


def limited(
    parts: Iterable[Iterable[str]], limit: Patterns
) -> tuple[list[Iterable[str]], Patterns | None]:
    """Return the permissions within a limit, and the limit where it replaces ``*``."""
    held = [item for part in parts for item in part]
    all_of_it = ALL_PERMISSIONS in held and not limit.hold(ALL_PERMISSIONS)
    return [filter(limit.hold, held)], limit if all_of_it and limit.texts else None


def _escaped(text: str) -> str:
    if _ALL_VISIBLE(text):
        return text
    try:
        return quote(text, safe=_VISIBLE)
    except UnicodeEncodeError:
        # strict_json refuses lone surrogates in claims; an issuer's name is from the configuration.
        raise TokenError(Reason.TOKEN_CLAIMS, "a value that is not valid Unicode") from None


def _escaped_list(items: tuple[str, ...]) -> str:
    found = _headers.get(items)
    if found is None:
        found = ",".join([_escaped(item).replace(",", "%2C") for item in items])
        _headers.keep(items, found)
    return found

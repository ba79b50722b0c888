"""``policy.identity_headers``, ``cors`` and ``challenge``: the headers that the sidecar sets."""

from dataclasses import dataclass
from typing import Annotated

from sidecar.config.addresses import quotable_url
from sidecar.config.headers import cors_header, cors_method, identity_header, origin, quotable
from sidecar.documents.kinds import Duration, Flag, List, Optional, Text

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_HEADERS = ("authorization", "content-type")
_IDENTITY_HEADER = Optional(Text(identity_header))


@dataclass(frozen=True, kw_only=True)
class CorsSection:
    """``policy.cors``: which pages may read the sidecar's responses. ``max_age`` in seconds."""

    origins: Annotated[tuple[str, ...], List(Text(origin), min_items=1, unique=True)]
    methods: Annotated[tuple[str, ...], List(Text(cors_method), min_items=1, unique=True)] = (
        _METHODS
    )
    headers: Annotated[tuple[str, ...], List(Text(cors_header), unique=True)] = _HEADERS
    credentials: Annotated[bool, Flag()] = False
    max_age: Annotated[float, Duration("0s", "24h")] = 600.0


@dataclass(frozen=True, kw_only=True)
class ChallengeSection:
    """``policy.challenge``: what `WWW-Authenticate` says (RFC 6750, RFC 9728)."""

    realm: Annotated[str, Text(quotable)] = "zervi"
    resource_metadata: Annotated[str | None, Optional(Text(quotable_url))] = None


@dataclass(frozen=True, kw_only=True)
class IdentityHeaderNames:
    """``policy.identity_headers``: the headers that carry the principal to the upstream.

    None: the upstream does not get this part.
    """

    subject: Annotated[str | None, _IDENTITY_HEADER] = "x-user-id"
    username: Annotated[str | None, _IDENTITY_HEADER] = "x-username"
    email: Annotated[str | None, _IDENTITY_HEADER] = "x-user-email"
    roles: Annotated[str | None, _IDENTITY_HEADER] = "x-user-role"
    permissions: Annotated[str | None, _IDENTITY_HEADER] = "x-user-permissions"
    issuer: Annotated[str | None, _IDENTITY_HEADER] = "x-user-issuer"
    service: Annotated[str | None, _IDENTITY_HEADER] = "x-service-id"

"""Who the claims prove, what that principal may do, and what the upstream is told of it."""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Whether a token was issued to a person or to a service."""

    USER = "user"
    SERVICE = "service"


class Principal(NamedTuple):
    """Who verified claims prove. ``granted`` holds ``permissions`` for looking up."""

    kind: Kind
    subject: str
    issuer: str
    username: str | None = None
    email: str | None = None
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    granted: frozenset[str] = frozenset()


class ClaimNames(NamedTuple):
    """Which claims hold what, the first that is there counting (all of them for roles and permissions)."""

    subject: tuple[str, ...] = ("user_id", "sub")
    username: tuple[str, ...] = ("username",)
    email: tuple[str, ...] = ("email",)
    roles: tuple[str, ...] = ("role", "roles")
    permissions: tuple[str, ...] = ("permissions",)


class IdentityHeaders(NamedTuple):
    """The header that carries each part of the principal to the upstream; lower-case."""

    subject: str = "x-user-id"
    username: str = "x-username"
    email: str = "x-user-email"
    roles: str = "x-user-role"
    permissions: str = "x-user-permissions"
    issuer: str = "x-user-issuer"
    service: str = "x-service-id"

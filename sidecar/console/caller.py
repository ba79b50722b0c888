"""The caller, as the sidecar's identity headers describe it. Nothing is judged here."""

from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from sidecar.console import shown

MANAGE: Final = "cluster:manage"
MAX_ROLES: Final = 16  # that audit lines name; users have one or two


class Caller(NamedTuple):
    """A user or a service that the sidecar has let pass."""

    subject: str
    username: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    issuer: str

    @property
    def may_manage(self) -> bool:
        """Whether buttons that change something are shown; the sidecar decides on the request."""
        return bool(self.permissions & {MANAGE, "*"})

    def as_json(self) -> dict[str, Any]:
        """Return the caller as the API and audit lines show it."""
        return {
            "subject": self.subject,
            "username": self.username,
            "roles": list(self.roles),
            "issuer": self.issuer,
        }


def caller_of(request: web.Request) -> Caller | None:
    """Return the caller; None if the request did not come through the sidecar."""
    headers = request.headers
    subject = headers.get("x-user-id") or headers.get("x-service-id")
    if not subject:
        return None
    return Caller(
        subject=_decoded(subject),
        username=_decoded(headers.get("x-username", "")) or _decoded(subject),
        roles=tuple(_listed(headers.get("x-user-role", ""))[:MAX_ROLES]),
        permissions=frozenset(_listed(headers.get("x-user-permissions", ""))),
        issuer=_decoded(headers.get("x-user-issuer", "")),
    )


def _listed(value: str) -> list[str]:
    return [_decoded(item) for item in value.split(",") if item]


def _decoded(value: str) -> str:
    """Return a value of an identity header, which is percent-encoded, as it can be shown."""
    return shown.text(unquote(value, errors="replace"), 128)

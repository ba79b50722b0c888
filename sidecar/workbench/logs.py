"""Lines of decision logs, and of Envoy's JSON access logs, as requests that can be judged again."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import IO, Any, NamedTuple

from sidecar.core.principal import Kind, Principal
from sidecar.core.reasons import Reason
from sidecar.core.request import Request

MAX_LINE = 256 * 1024  # bytes; ours stay under 8 KiB

_MASKED = ("[redacted]", "...")  # what the log writes for what it leaves out
# Decided before anybody looks who asks.
UNASKED = frozenset(
    {Reason.MALFORMED_REQUEST, Reason.NO_ROUTE, Reason.METHOD_NOT_ALLOWED, Reason.PUBLIC}
)
ALLOWING = frozenset({Reason.OK, Reason.PUBLIC, Reason.PREFLIGHT})
_OF_THE_TOKEN = frozenset(reason for reason in Reason if reason.startswith("token_")) | {
    Reason.MULTIPLE_CREDENTIALS,
    Reason.NOT_READY,
}
_REASONS = frozenset(Reason)
_KINDS = frozenset(Kind)
_TEMPORARY = frozenset({Reason.OVERLOADED, Reason.INTERNAL})


class Part(StrEnum):
    """What a route may ask of who asks, and a log may leave out."""

    KIND = "kind"
    ISSUER = "issuer"
    HELD = "roles and permissions"


class Logged(NamedTuple):
    """A request as it was logged, and what was decided on it.

    ``principal`` is None where no token was verified; ``lacks`` is what the log leaves out of it.
    """

    decision_id: str
    request: Request
    allowed: bool
    reason: Reason
    route: str | None
    principal: Principal | None
    lacks: frozenset[Part] = frozenset()
    detail: str = ""
    needs: tuple[str, ...] = ()
    policy_digest: str = ""

    @property
    def token_failed(self) -> bool:
        """Whether it was denied for its token, which no log holds."""
        return self.reason in _OF_THE_TOKEN


class UnusableLineError(Exception):
    """A line that cannot be judged again; the message says why, alike for lines of one kind."""


def read_line(line: bytes) -> Logged:
    """Read one line of a log. Raises UnusableLineError."""
    if len(line) > MAX_LINE:
        raise UnusableLineError("it is too long")
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise UnusableLineError("it is no JSON") from None
    if not isinstance(entry, dict):
        raise UnusableLineError("it is no JSON object")
    method, path, reason = _text(entry, "method"), _text(entry, "path"), _text(entry, "reason")
    if not method or not path or reason not in _REASONS:
        raise UnusableLineError("it lacks method, path or reason")
    if any(mask in path for mask in _MASKED):
        raise UnusableLineError("its path is shortened or masked")
    known = Reason(reason)
    if known is Reason.PREFLIGHT:
        raise UnusableLineError("it is a preflight, whose headers are not logged")
    if known in _TEMPORARY:
        raise UnusableLineError("it was denied for the state of the sidecar")
    principal, lacks = _principal(entry)
    request = Request(
        method, _text(entry, "host"), path.encode("utf-8", "surrogatepass"), {}, faithful=True
    )
    return Logged(
        decision_id=_text(entry, "decision_id"),
        request=request,
        allowed=known in ALLOWING,
        reason=known,
        route=_text(entry, "route") or None,
        principal=principal,
        lacks=lacks,
        detail=_text(entry, "detail"),
        needs=_texts(entry, "needs") or (),
        policy_digest=_text(entry, "policy_digest"),
    )


def _principal(entry: Mapping[str, Any]) -> tuple[Principal | None, frozenset[Part]]:
    """Return who asked, and what the log leaves out of that."""
    subject = _text(entry, "subject")
    if not subject:
        return None, frozenset()
    kind, issuer = _text(entry, "principal_kind"), _text(entry, "issuer")
    roles, permissions = _texts(entry, "roles"), _texts(entry, "permissions")
    given = {
        Part.KIND: kind in _KINDS,
        Part.ISSUER: bool(issuer),
        Part.HELD: roles is not None and permissions is not None,
    }
    principal = Principal(
        Kind(kind) if kind in _KINDS else Kind.USER,
        subject,
        issuer,
        roles=roles or (),
        permissions=permissions or (),
        granted=frozenset(permissions or ()),
    )
    return principal, frozenset(part for part, there in given.items() if not there)


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) and value != "-" else ""


def _texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = entry.get(name)
    if not isinstance(value, list):
        return None
    return tuple(item for item in value if isinstance(item, str))


def lines_of(log: IO[bytes]) -> Iterator[bytes]:
    """Yield a log's lines; of one that is far too long, pieces that are no lines of a log."""
    return iter(lambda: log.readline(MAX_LINE + 1), b"")


def find(lines: Iterable[bytes], decision_id: str) -> Logged | None:
    """Return the last line of a log about this decision, None where none can be judged."""
    found = None
    needle = json.dumps(decision_id).encode()
    for line in lines:
        if needle in line:
            with suppress(UnusableLineError):
                logged = read_line(line)
                if logged.decision_id == decision_id:
                    found = logged
    return found

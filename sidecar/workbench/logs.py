"""Reads lines of decision logs, and of JSON access logs, as requests to judge again."""

import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.tokens.grantable import patterns_of
from sidecar.core.tokens.principal import Kind, Principal
from sidecar.workbench.log_fields import Fields
from sidecar.workbench.log_lines import MAX_LINE

_WHY = {"not JSON": "this line is not JSON", "too long": "this line is too long"}
_MASKED, _SHORTENED = "[redacted]", "..."  # what the log writes instead of removed text
# Decided before the caller is authenticated.
UNASKED = frozenset(
    {Reason.MALFORMED_REQUEST, Reason.NO_ROUTE, Reason.METHOD_NOT_ALLOWED, Reason.PUBLIC}
)
_CREDENTIALS = frozenset({Reason.MULTIPLE_CREDENTIALS, Reason.NOT_READY})
# Looked up by name, because a log has millions of lines and calling an enum is slow.
_REASONS: Mapping[str, Reason] = {reason.value: reason for reason in Reason}
_KINDS: Mapping[str, Kind] = {kind.value: kind for kind in Kind}
_NOTHING: frozenset["CallerField"] = frozenset()
_decode = json.JSONDecoder().decode


class CallerField(StrEnum):
    """What a route can require of the caller, and a log may not contain."""

    KIND = "kind"
    ISSUER = "issuer"
    HELD = "roles and permissions"
    CLAIMS = "claims"


class Logged(NamedTuple):
    """A logged request, and the decision on it.

    ``principal`` is None if no token was verified; ``lacks`` is what the log does not contain about
    it.
    """

    request: Request
    allowed: bool
    reason: Reason
    route: str | None
    principal: Principal | None
    lacks: frozenset[CallerField]
    entry: Mapping[str, Any]

    @property
    def decision_id(self) -> str:
        """The decision's id; empty if the log does not contain it."""
        return _text(self.entry, "decision_id")

    @property
    def detail(self) -> str:
        """The detail for the operator."""
        return _text(self.entry, "detail")

    @property
    def needs(self) -> tuple[str, ...]:
        """The permissions or roles that were missing."""
        return _texts(self.entry, "needs") or ()

    @property
    def policy_digest(self) -> str:
        """The digest of the policy; empty if the log does not contain it."""
        return _text(self.entry, "policy_digest")

    @property
    def token_failed(self) -> bool:
        """Whether the token was the reason of the denial; logs do not contain tokens."""
        return self.reason.refuses_token or self.reason in _CREDENTIALS


class UnusableLineError(Exception):
    """A line that cannot be judged again; lines with the same cause have the same message."""


class CutPathError(UnusableLineError):
    """A decision whose path the log does not have whole.

    ``allowed`` is the decision, ``route`` its route's name, empty where it had none.
    """

    def __init__(self, allowed: bool, route: str) -> None:
        super().__init__("the path is cut or masked in the log")
        self.allowed = allowed
        self.route = route


def read_line(line: bytes, fields: Fields | None = None) -> Logged:
    """Read one line of a log; ``fields`` names what it calls ours. Raises UnusableLineError."""
    if len(line) > MAX_LINE:
        raise UnusableLineError("too long")
    try:
        text = line.decode()
        entry = _decode(text)
        if "\\ud" in text or "\\uD" in text:  # half a surrogate pair cannot be encoded
            entry = _decode(
                json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace").decode()
            )
    except (ValueError, RecursionError):
        raise UnusableLineError("not JSON") from None
    if not isinstance(entry, dict):
        raise UnusableLineError("not a JSON object")
    if fields is not None:
        entry = fields.ours(entry)
    method, path = _text(entry, "method"), _text(entry, "path")
    reason = _REASONS.get(_text(entry, "reason"))
    if not method or not path or reason is None:
        raise UnusableLineError("method, path or reason is missing")
    if _MASKED in path or _SHORTENED in path:
        raise CutPathError(reason.allows, _text(entry, "route"))
    if reason.is_preflight:
        raise UnusableLineError("a preflight, whose headers are not logged")
    if reason.is_failure:
        raise UnusableLineError("denied because of the sidecar's state, not the policy")
    principal, lacks = _principal(entry)
    request = Request(
        method, _text(entry, "host"), path.encode("utf-8", "surrogatepass"), {}, raw_headers=True
    )
    return Logged(
        request=request,
        allowed=reason.allows,
        reason=reason,
        route=_text(entry, "route") or None,
        principal=principal,
        lacks=lacks,
        entry=entry,
    )


def _principal(entry: Mapping[str, Any]) -> tuple[Principal | None, frozenset[CallerField]]:
    """Return the caller, and what the log does not contain about it."""
    subject = _text(entry, "subject")
    if not subject:
        return None, _NOTHING
    kind, issuer = _KINDS.get(_text(entry, "principal_kind")), _text(entry, "issuer")
    roles, permissions = _texts(entry, "roles"), _texts(entry, "permissions")
    patterns = _texts(entry, "patterns")
    principal = Principal(
        kind or Kind.USER,
        subject,
        issuer,
        roles=roles or (),
        permissions=permissions or (),
        granted=frozenset(permissions or ()),
        patterns=None if patterns is None else patterns_of(patterns),
    )
    if kind and issuer and roles is not None and permissions is not None:
        return principal, _NOTHING
    known = {
        CallerField.CLAIMS: True,  # never in a log, and a few routes read them: see rejudge
        CallerField.KIND: kind is not None,
        CallerField.ISSUER: issuer != "",
        CallerField.HELD: roles is not None and permissions is not None,
    }
    return principal, frozenset(part for part in CallerField if not known[part])


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) and value != "-" else ""


def _texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = entry.get(name)
    if not isinstance(value, list):
        return None
    return tuple(item for item in value if isinstance(item, str))


def find(lines: Iterable[bytes], decision_id: str, fields: Fields | None = None) -> Logged | str:
    """Return the last usable line with this decision id, or why there is none."""
    found: Logged | str = ""
    needle = json.dumps(decision_id).encode()[1:-1]
    word = re.compile(rb"(?<![\w-])" + re.escape(needle) + rb"(?![\w-])")
    for number, line in enumerate(lines, 1):
        if needle not in line:
            continue
        try:
            logged = read_line(line, fields)
            if logged.decision_id == decision_id:
                found = logged
        except UnusableLineError as error:
            if isinstance(found, str) and word.search(line):
                found = (
                    f"{decision_id} is found at line {number}, but {_WHY.get(str(error), error)}"
                )
    return found or f"no usable log line has the decision id {decision_id}"

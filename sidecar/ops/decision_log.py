"""The decision log: one JSON line per decision on standard output."""

import json
import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sidecar.core.decision import Allow, DecisionRecord, Deny, outcome
from sidecar.core.reasons import Reason
from sidecar.core.tokens.credentials import TokenSource, carries
from sidecar.core.tokens.principal import Principal, held_by
from sidecar.net.clock import rfc3339
from sidecar.ops import redact
from sidecar.ops.writer import LineWriter

_log = logging.getLogger(__name__)

# Only ASCII: safe on any terminal.
_encode = json.JSONEncoder(separators=(",", ":")).encode

# Characters. Clients control most of these values; with these bounds a line is at most 64 KiB.
MAX_PATH = 1024
MAX_TEXT = 256
MAX_DETAIL = 512
MAX_CLAIM = 128  # of a value that a token claims; most issuers and key ids have at most 64
MAX_ITEMS = 8
MAX_HELD = 4096  # of roles and permissions together

Mode = Literal["all", "denied", "none"]


class LogSettings(NamedTuple):
    """Which decisions are logged, and how much of them.

    ``replayable`` adds the principal's roles and permissions, which replay needs. Of a request to a
    public route the log says whether it has a value at one of ``token_sources``.
    """

    mode: Mode
    replayable: bool = False
    token_sources: Sequence[TokenSource] = ()


class DecisionLog:
    """Writes the decisions that ``settings`` selects to ``fd`` and never waits for its reader.

    Other settings can replace ``settings`` at any time.
    """

    def __init__(self, settings: LogSettings, fd: int = 1) -> None:
        self.settings = settings
        self._writer = LineWriter(fd)

    @property
    def dropped(self) -> int:
        """The number of decisions that were not written."""
        return self._writer.dropped

    def records(self, records: Sequence[DecisionRecord]) -> None:
        """Log decisions."""
        mode, replayable, token_sources = self.settings
        if mode == "none":
            return
        lines = [
            render(record, replayable=replayable, token_sources=token_sources)
            for record in records
            if mode == "all"
            # Most are allows: they are recognised without a call.
            or (not isinstance(record.decision, Allow) and outcome(record.decision) == "deny")
        ]
        if lines and not self._writer.put(b"".join(lines), len(lines)):
            _log.warning("decisions are dropped from the log: standard output is read too slowly")

    def close(self, timeout: float = 2.0) -> None:
        """Write pending lines, for at most ``timeout`` seconds."""
        if not self._writer.close(timeout):
            _log.warning("the end of the decision log is lost: standard output is not read")


def render(
    record: DecisionRecord,
    *,
    replayable: bool = False,
    token_sources: Sequence[TokenSource] = (),
) -> bytes:
    """Render one decision as a JSON line."""
    decision, request = record.decision, record.request
    route = decision.route
    principal = None if decision.verified is None else decision.verified.principal
    source, destination, context = record.peer_info()
    line: dict[str, object] = {
        "time": rfc3339(record.time, "milliseconds"),
        "decision_id": redact.text(record.decision_id, MAX_TEXT),
        "decision": outcome(decision),
        "reason": decision.reason,
        "route": None if route is None else route.name,
        "host": None if request is None else redact.text(request.host, MAX_TEXT),
        "method": None if request is None else redact.text(request.method, MAX_TEXT),
        "path": None if request is None else redact.path(request.target, MAX_PATH),
        "subject": None if principal is None else redact.text(principal.subject, MAX_TEXT),
        "principal_kind": None if principal is None else principal.kind,
        "issuer": None if principal is None else redact.text(principal.issuer, MAX_TEXT),
        "policy_digest": record.policy_digest,
        "source": redact.text(source, MAX_TEXT),
        "microseconds": round(record.seconds * 1e6),
    }
    if record.traced is not None and (trace_id := record.traced.trace_id):
        line["trace_id"] = trace_id
    if record.memory_use is not None and record.memory_use.repeats:
        line["repeats"] = record.memory_use.repeats
    service = decision.service
    if service is not None:
        line["service"] = redact.text(service.principal.subject, MAX_TEXT)
        line["service_issuer"] = redact.text(service.principal.issuer, MAX_TEXT)
    if decision.reason is Reason.PUBLIC and request is not None and token_sources:
        line["credential"] = carries(request, token_sources)
    if replayable and principal is not None and _fit_to_show(principal):
        line["roles"] = principal.roles
        line["permissions"] = principal.permissions
        if principal.patterns is not None:
            line["patterns"] = principal.patterns.texts
    if destination:
        line["destination"] = redact.text(destination, MAX_TEXT)
    if context:
        line["context"] = {
            redact.text(name, MAX_TEXT): redact.text(value, MAX_TEXT)
            for name, value in context[:MAX_ITEMS]
        }
    if isinstance(decision, Deny):
        if decision.needs:
            line["needs"] = [redact.text(need, MAX_TEXT) for need in decision.needs[:MAX_ITEMS]]
        if decision.detail:
            line["detail"] = redact.text(decision.detail, MAX_DETAIL)
        if decision.facts is not None:
            line["issuer"] = decision.facts.issuer
            claimed = decision.facts.claimed()
            line["claimed"] = {name: _claim(value) for name, value in claimed.items()}
    return _encode(line).encode("ascii") + b"\n"


def _claim(value: object) -> object:
    """Return a value of a token that was not accepted, cut to fit the line."""
    if isinstance(value, str):
        return redact.text(value, MAX_CLAIM)
    if isinstance(value, list):
        shown = ["(list)" if isinstance(item, list) else _claim(item) for item in value[:MAX_ITEMS]]
        return [*shown, f"and {more} more"] if (more := len(value) - len(shown)) else shown
    return f"({type(value).__name__})"


def _fit_to_show(principal: Principal) -> bool:
    """Return whether all roles and permissions can be logged: a part would replay differently."""
    held = (*principal.roles, *held_by(principal))
    short = sum(map(len, held)) <= MAX_HELD
    return short and all(redact.text(item, MAX_TEXT) == item for item in held)

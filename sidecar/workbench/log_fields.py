"""The fields of other programs' access logs, by the names of our decision log."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sidecar.core.reasons import Reason
from sidecar.documents.findings import one_of, quoted

# The request line, and the status of the answer, are in many access logs and not in ours.
REQUEST, STATUS = "request", "status"
TEXTS = (
    "method", "host", "path", "reason", "route", "decision_id", "subject", "principal_kind",
    "issuer", "policy_digest", "time",
)  # fmt: skip
LISTS = ("roles", "permissions")
NAMES = (*TEXTS, *LISTS, REQUEST, STATUS)

# What a server's own authorization answers. Others, such as 429, show neither allow nor denial.
_REASONS = {401: Reason.TOKEN_MISSING, 403: Reason.PERMISSION_DENIED}
_UNCLEAR = frozenset({400, 405, 407, 408, 414, 421, 425, 429, 431})


class FieldsError(ValueError):
    """``--fields`` is wrong."""


class Fields(NamedTuple):
    """Where each of our fields is: the steps to it, and the same as one key with dots."""

    sources: Mapping[str, tuple[Sequence[str], str]]

    def ours(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return an entry with our names."""
        found = dict(entry)
        for name, (steps, key) in self.sources.items():
            found[name] = _value(entry, steps, key)
        for name in TEXTS:
            if isinstance(found.get(name), int):
                found[name] = str(found[name])
        for name in LISTS:
            if isinstance(found.get(name), str):
                found[name] = found[name].replace(",", " ").split()
        if REQUEST in self.sources:
            _take_request_line(found)
        if STATUS in self.sources and "reason" not in self.sources:
            found["reason"] = _reason(found[STATUS])
        return found


def parse_fields(texts: Iterable[str]) -> Fields | None:
    """Return the map of ``path=request.uri,status=code``, None for nothing.

    A name with dots leads into objects, unless the log has it as a key. Raises FieldsError.
    """
    sources: dict[str, tuple[Sequence[str], str]] = {}
    for pair in ",".join(texts).split(","):
        name, equals, key = pair.strip().partition("=")
        if not pair.strip():
            continue
        if name not in NAMES or not equals or not key:
            raise FieldsError(
                f"--fields takes OURS=THEIRS, not {quoted(pair)}; ours is {one_of(NAMES)}"
            )
        sources[name] = key.split("."), key
    if not sources:
        return None
    if not {"path", REQUEST} & sources.keys() or not {"reason", STATUS} & sources.keys():
        raise FieldsError("--fields needs path (or request), and reason (or status)")
    return Fields(sources)


def _value(entry: Mapping[str, Any], steps: Sequence[str], key: str) -> Any:
    if key in entry:
        return entry[key]
    value: Any = entry
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _take_request_line(found: dict[str, Any]) -> None:
    """Read ``GET /path HTTP/1.1``, where the log has no method and path of their own."""
    line = found[REQUEST]
    parts = line.split(" ") if isinstance(line, str) else []
    if len(parts) in (2, 3):
        found["method"], found["path"] = parts[:2]


def _reason(status: object) -> str:
    """Return the reason that a status shows, empty if it shows none."""
    try:
        code = int(status) if isinstance(status, int | str) else 0
    except ValueError:
        return ""
    if code in _REASONS:
        return _REASONS[code]
    return Reason.OK if 100 <= code < 500 and code not in _UNCLEAR else ""

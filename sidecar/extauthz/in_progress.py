"""Parts of the Check service: settings, a Check in progress, rules for tokens, joined answers."""

from typing import NamedTuple

from sidecar.core.snapshot import Snapshot
from sidecar.extauthz.envelope import Envelope
from sidecar.extauthz.remembering import Question


class ServiceSettings(NamedTuple):
    """Bounds of the token cache, in entries and bytes; ``unknown_key_wait`` is in seconds."""

    cached_tokens: int = 10_000
    unknown_key_wait: float = 0.25
    cached_bytes: int = 32 * 1024 * 1024


class CheckInProgress:
    """A Check in progress; its times are seconds of ``time.monotonic()``."""

    __slots__ = (
        "cached", "deadline", "decision_id", "envelope", "message", "question", "started"
    )  # fmt: skip

    def __init__(self, message: bytes, started: float, deadline: float | None) -> None:
        self.message = message
        self.started = started
        self.deadline = deadline
        self.decision_id = ""
        self.envelope: Envelope | None = None
        self.cached: bool | None = None  # whether its token was in the cache
        self.question: Question | None = None  # where Envoy remembers allows


def token_rules(snapshot: Snapshot, settings: ServiceSettings) -> tuple[object, ...]:
    """Return all that a remembered token depends on, apart from its key."""
    return (
        tuple([issuer._replace(keys=None) for issuer in snapshot.issuers]),
        snapshot.identity_headers,
        snapshot.leeway,
        snapshot.cache_ttl,
        snapshot.token_max_bytes,
        snapshot.permissions,
        snapshot.claims,
        None if snapshot.revocations is None else snapshot.revocations.rules(),
        settings.cached_tokens,
        settings.cached_bytes,
    )


def joined(*parts: bytes) -> bytes:
    """Join the parts of an answer. Raises TypeError: to Envoy an empty answer is an allow."""
    if not all(parts):
        raise TypeError("each part of an answer must be non-empty bytes")
    return b"".join(parts)  # raises for what is not bytes

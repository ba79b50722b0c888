"""One HTTP call to a registry or to Zervi, and what its answer means. No answer is trusted."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from sidecar.looma.pace import MAX_INTERVAL, MAX_TTL, MIN_INTERVAL, MIN_TTL
from sidecar.looma.registry import Failed, Ok, Outcome, RetryAfter, Unauthorized, Unregistered

CALL_SECONDS = 2.0  # connecting, sending and the whole answer
MAX_BODY_BYTES = 64 * 1024  # expected answers are smaller than 1 KiB

# Nacos answers 200 with this code or one of these texts where other registries answer 404.
NACOS_UNKNOWN_INSTANCE = 20404
UNKNOWN_INSTANCE_WORDS = ("unknown instance", "instance not found", "not registered")

DEFAULT_RETRY_AFTER = 5.0  # for a 429 or 503 without Retry-After

# Logs an ignored part of an answer: a key that limits the line, and the line.
Complain = Callable[[str, str], None]


class Answer(NamedTuple):
    """An answer; ``body`` is None where it is longer than ``MAX_BODY_BYTES``.

    ``retry_after`` is in seconds, None where the answer has no valid Retry-After.
    """

    status: int
    body: bytes | None = b""
    retry_after: float | None = None

    def json(self) -> Any:
        """Return the body as JSON, None where it is not JSON."""
        try:
            return json.loads(self.body or b"")
        except (ValueError, RecursionError):
            return None


class Caller(Protocol):
    """Makes a call: over a socket, or scripted in a test."""

    async def __call__(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Failed:
        """Send ``body`` as JSON unless it is None; return the answer, or why there is none."""


def outcome_of(answer: Answer, complain: Complain) -> Outcome:
    """Return what the answer means; parts of a wrong type or size are ignored and logged."""
    body = answer.json()
    if answer.status == 404 or _unknown_instance(body):
        return Unregistered()
    if 200 <= answer.status < 300:
        return _success(answer, body, complain)
    return refusal_of(answer, body)


def refusal_of(answer: Answer, body: Any) -> Outcome:
    """Return what an answer other than 2xx and 404 means; ``body`` is its JSON or None."""
    detail = f"HTTP status {answer.status}{_code(body)}"
    if answer.status in (401, 403):
        return Unauthorized(detail)
    if answer.status in (429, 503):
        seconds = DEFAULT_RETRY_AFTER if answer.retry_after is None else answer.retry_after
        return RetryAfter(seconds, detail)
    return Failed(detail)


def bounded_seconds(
    value: object, name: str, minimum: float, maximum: float, complain: Complain
) -> float | None:
    """Return a number of seconds within bounds, None for an invalid value."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        complain(f"{name} type", f"{name} is not a number of seconds: ignored")
        return None
    if value <= 0:
        complain(f"{name} sign", f"{name} is not greater than 0: ignored")
        return None
    bounded = float(min(max(value, minimum), maximum))
    if bounded != value:
        complain(f"{name} bound", f"{name} is out of range: {bounded:g} s is used")
    return bounded


def _finite(value: float) -> bool:
    # Unlike math.isfinite, this does not raise for an integer beyond the range of floats.
    return -math.inf < value < math.inf


def _success(answer: Answer, body: Any, complain: Complain) -> Outcome:
    if answer.body is None:
        complain("length", f"the answer is longer than {MAX_BODY_BYTES} bytes: ignored")
        return Ok()
    if not isinstance(body, dict):
        if answer.body.strip():
            complain("shape", "the answer is not a JSON object: ignored")
        return Ok()
    if body.get("success") is False:
        return Failed(f"HTTP status {answer.status} with success: false{_code(body)}")
    return Ok(
        bounded_seconds(body.get("ttl_seconds"), "ttl_seconds", MIN_TTL, MAX_TTL, complain),
        bounded_seconds(
            body.get("heartbeat_interval_seconds"),
            "heartbeat_interval_seconds",
            MIN_INTERVAL,
            MAX_INTERVAL,
            complain,
        ),
    )


def _unknown_instance(body: Any) -> bool:
    if not isinstance(body, dict):
        return False
    if body.get("code") == NACOS_UNKNOWN_INSTANCE:
        return True
    texts = [body.get("message"), body.get("error")]
    words = " ".join(text.lower() for text in texts if isinstance(text, str))
    return any(phrase in words for phrase in UNKNOWN_INSTANCE_WORDS)


def _code(body: Any) -> str:
    """Return the answer's error code for a log line, if it is one short word or number.

    Never its message: a registry may repeat the request in it, which had a token.
    """
    code = body.get("code") if isinstance(body, dict) else None
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 1_000_000:
        return f", code {code}"
    if isinstance(code, str) and len(code) <= 40 and code.replace("_", "").isascii():
        return f", code {code}" if code.replace("_", "").isalnum() else ""
    return ""

"""For how long Envoy may remember an allow instead of asking again (docs/remember.md).

Envoy finds an allow by method, authority, path with query, and ``deciding_headers``. Whatever else
a decision depends on must be in ``remembered_for``.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from sidecar.core.decision import Allow, Decision, decide
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import COOKIE_HEADERS, WEBSOCKET_PROTOCOL, TokenSource
from sidecar.core.tokens.lookups import NO_ANSWERS, Answers
from sidecar.core.tokens.verify import Verified, recheck

LONGEST: Final = 5.0
"""Seconds. A revocation, a withdrawn key or another policy takes effect that much later."""

PSEUDO_HEADERS: Final = (":method", ":authority", ":path")

_COVERAGE: Final = 2
"""Raised with each change of what the filter in Envoy must do."""

_ALLOWS: Final = frozenset({Reason.OK, Reason.PUBLIC})


def deciding_headers(sources: Iterable[TokenSource]) -> tuple[str, ...]:
    """Return the headers on which an allow may depend, sorted, without pseudo-headers.

    ``sources`` are the places of users' and of services' tokens.
    """
    names: set[str] = set()
    for source in sources:
        match source.kind:
            case "header":
                names.add(source.name)
            case "cookie":
                names.update(COOKIE_HEADERS)
            case "websocket_protocol":
                names.add(WEBSOCKET_PROTOCOL)
            case "query":  # a part of `:path`
                pass
    return tuple(sorted(names))


def coverage(deciding: Iterable[str], removed: Iterable[str]) -> str:
    """Return a digest of what Envoy compares and removes: both sides must have the same."""
    text = json.dumps([_COVERAGE, sorted(deciding), sorted(removed)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Permit(NamedTuple):
    """For how many milliseconds a decision may be remembered, 0: not at all; ``why`` not longer."""

    milliseconds: int
    why: str


def remembered_for(
    decision: Decision,
    request: Request,
    snapshot: Snapshot,
    now: float,
    steady: float,
    answers: Answers = NO_ANSWERS,
) -> Permit:
    """Return for how long the decision may be remembered.

    Never past the ``exp`` of a token (without the leeway), past ``max_stale`` of its key set or of
    the revocation feed, or past the time for which an answer to a look-up is fresh. ``now``,
    ``steady`` and ``answers`` are as for ``decide``.
    """
    if not isinstance(decision, Allow) or decision.reason not in _ALLOWS:
        return Permit(0, "only an allow is remembered, and not of a preflight")
    if request.method == "OPTIONS":
        return Permit(0, "an OPTIONS request may be a preflight")
    if snapshot.placements is not None:
        return Permit(0, "a gateway chooses an instance for each request")
    if snapshot.policy.names_callers and _depends_on_peer(
        decision, request, snapshot, now, steady, answers
    ):
        return Permit(0, "the decision depends on the mesh identity, which Envoy does not compare")
    revocations = snapshot.revocations
    ends = [(LONGEST, f"an allow is remembered for at most {LONGEST:g} s")]
    for verified in decision.tokens():
        if recheck(verified, snapshot, now, steady) is not None:
            return Permit(0, "a token must be verified again")
        if revocations is not None and not revocations.allows(verified.marks, steady):
            return Permit(0, "a token is revoked, or the revocation feed is too old")
        ends.append((verified.valid_until - snapshot.leeway - now, "a token expires then"))
        keys = snapshot.issuers[verified.issuer].keys
        if verified.thumbprint is not None and keys is not None:
            left = keys.fetched_at + snapshot.max_stale - steady
            ends.append((left, "the key set of a token is older than `max_stale` then"))
        if revocations is not None and verified.marks is not None and verified.marks.covered:
            left = revocations.trusted_until - steady
            ends.append((left, "the revocation feed is older than `max_stale` then"))
        for question, mark in verified.asked:
            answer = answers.get(question)
            if answer is None or answer.mark != mark:
                return Permit(0, "a look-up must be asked again")
            ends.append((answer.fresh_until - steady, "a look-up is asked again then"))
    seconds, why = min(ends)
    return Permit(max(int(seconds * 1000), 0), why)


def _depends_on_peer(
    allow: Allow,
    request: Request,
    snapshot: Snapshot,
    now: float,
    steady: float,
    answers: Answers,
) -> bool:
    """Say whether the request needs its mesh identity: it is decided again without."""
    known: dict[bytes, Verified] = {each.digest: each for each in allow.tokens()}
    without = decide(request._replace(peer=""), snapshot, known, now, steady, answers=answers)
    return not isinstance(without, Allow)

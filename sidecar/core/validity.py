"""How long an allow is valid, while its snapshot is the current one."""

from math import inf
from typing import Final, NamedTuple

from sidecar.core.decisions import Allow
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import NO_ANSWERS, Answers
from sidecar.core.tokens.verify import Verified, recheck

LOOK_AGAIN: Final = 0.1
"""Seconds after which an answer to a look-up is read again: its uses renew it before its end."""


class Validity(NamedTuple):
    """A span on both clocks in which an allow is valid unless an answer to a look-up changes.

    ``since`` and ``until`` are seconds since the epoch, ``aged_since`` and ``aged_until`` seconds
    of the clock of ``KeySet.fetched_at``. Outside of it, ask ``still_valid``.
    """

    since: float
    until: float
    aged_since: float
    aged_until: float


UNKNOWN = Validity(inf, -inf, inf, -inf)
"""No such span: a revocation may arrive at any time."""


def validity(
    allow: Allow, snapshot: Snapshot, steady: float, answers: Answers = NO_ANSWERS
) -> Validity:
    """Return a span in which ``still_valid`` is true by this snapshot and these answers.

    ``steady`` is the present time by the clock of ``KeySet.fetched_at``.
    """
    since = aged_since = -inf
    until = aged_until = inf
    if allow.verified is None:
        return Validity(since, until, aged_since, aged_until)
    if snapshot.revocations is not None:
        return UNKNOWN
    for verified in (allow.verified, *allow.others):
        since = max(since, verified.valid_from)
        until = min(until, verified.valid_until)
        aged_until = min(aged_until, verified.cached_until)
        if verified.thumbprint is not None:
            keys = snapshot.issuers[verified.issuer].keys
            if keys is None or verified.thumbprint not in keys.thumbprints:
                return UNKNOWN
            aged_since = max(aged_since, keys.fetched_at)
            aged_until = min(aged_until, keys.fetched_at + snapshot.max_stale)
        for question, mark in verified.asked:
            answer = answers.get(question)
            if answer is None or answer.mark != mark:
                return UNKNOWN
            aged_until = min(aged_until, answer.fresh_until, steady + LOOK_AGAIN)
    return Validity(since, until, aged_since, aged_until)


def still_valid(
    allow: Allow,
    snapshot: Snapshot,
    now: float,
    steady: float | None = None,
    answers: Answers = NO_ANSWERS,
) -> bool:
    """Say whether ``decide`` would allow the same request at ``now``, by the same policy.

    Times and answers are as for ``decide``. Apart from the policy, only the token's time, key and
    revocation and the answers to look-ups can change.
    """
    verified = allow.verified
    if verified is None:
        return True
    if recheck(verified, snapshot, now, steady) is not None:
        return False
    for question, mark in verified.asked:
        answer = answers.get(question)
        if answer is None or answer.mark != mark:
            return False
        if (now if steady is None else steady) >= answer.fresh_until:
            return False
    revocations = snapshot.revocations
    if revocations is not None:
        aged_to = now if steady is None else steady
        for each in allow.tokens():  # a loop costs half of what all() does
            if not revocations.allows(each.marks, aged_to):
                return False
    if not allow.others:
        return True
    aged_to = now if steady is None else steady
    return all(
        recheck(each, snapshot, now, steady) is None and _still_answered(each, answers, aged_to)
        for each in allow.others
    )


def _still_answered(verified: Verified, answers: Answers, steady: float) -> bool:
    for question, mark in verified.asked:
        answer = answers.get(question)
        if answer is None or answer.mark != mark or steady >= answer.fresh_until:
            return False
    return True

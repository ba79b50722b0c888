"""What an operator is told of an issuer's keys: one line when something changes, none otherwise."""

import logging
from datetime import timedelta

from sidecar.core.keys import KeySet
from sidecar.zervi.interface import FetchError

# Causes that alternate (refused, reset, refused) get a line at most this often, in seconds.
CAUSE_INTERVAL = 60.0

_log = logging.getLogger("sidecar.zervi")


class Report:
    """One issuer's lines in the log; ``where`` is the document's address without any secret."""

    def __init__(self, issuer: str, where: str) -> None:
        self._issuer = issuer
        self._where = where
        self._state = ""
        self._cause = ""
        self._cause_at = 0.0
        self._dropped = ""

    def restored(self, keys: KeySet, left: float) -> None:
        """Say that the last good set of an earlier run is in use; it counts ``left`` seconds."""
        _log.info(
            "issuer %s: %d keys from the snapshot file, good for another %s",
            self._issuer,
            len(keys.keys),
            _duration(left),
        )

    def good(self, keys: KeySet, previous: KeySet | None) -> None:
        """Say that fetching works (again), and what a rotation changed."""
        if self._state != "good":
            _log.info("issuer %s: %d keys from %s", self._issuer, len(keys.keys), self._where)
        self._state, self._cause = "good", ""
        if previous is not None and keys.thumbprints != previous.thumbprints:
            _log.info(
                "issuer %s: its keys changed: %d new, %d withdrawn",
                self._issuer,
                len(keys.thumbprints - previous.thumbprints),
                len(previous.thumbprints - keys.thumbprints),
            )
        if keys.dropped and keys.dropped != self._dropped:
            _log.warning("issuer %s: keys left out: %s", self._issuer, keys.dropped)
        self._dropped = keys.dropped

    def bad(self, error: FetchError, left: float | None, now: float) -> None:
        """Say why no key set could be had, and what that means.

        ``left`` is how many seconds the last good set still counts, None where there is none;
        ``now`` is a steady clock in seconds.
        """
        if left is None:
            state, level, effect = "none", logging.WARNING, "no keys yet, its tokens are not_ready"
        elif left <= 0:
            state, level = "stale", logging.ERROR
            effect = "its keys are older than max_stale, its tokens are not_ready"
        else:
            state, level = "held", logging.WARNING
            effect = f"the last good keys count for another {_duration(left)}"
        known = error.cause == self._cause or now - self._cause_at < CAUSE_INTERVAL
        if state == self._state and known:
            return
        self._state, self._cause, self._cause_at = state, error.cause, now
        _log.log(
            level,
            "issuer %s: no key set from %s: %s; %s; %s",
            self._issuer,
            self._where,
            error.cause,
            effect,
            error.advice,
        )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))

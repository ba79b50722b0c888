"""What an operator is told of an issuer's keys: a line when something changes, none for repeats."""

import logging
from datetime import timedelta

from sidecar.core.tokens.keys import KeySet
from sidecar.zervi.interface import FetchError
from sidecar.zervi.schedule import Ration

# A Zervi that comes and goes all the time gets this many lines, then one in so many seconds. What
# was left unsaid is said then, as far as it still holds.
LINES_BURST = 10
LINES_INTERVAL = 60.0

_log = logging.getLogger("sidecar.zervi")


class KeyLog:
    """One issuer's lines in the log; ``where`` is the document's address without any secret.

    ``now`` is a steady clock in seconds.
    """

    def __init__(self, issuer: str, where: str) -> None:
        self._issuer = issuer
        self._where = where
        self._ration = Ration(LINES_BURST, LINES_INTERVAL)
        self._said = ("", "")

    def restored(self, keys: KeySet, left: float) -> None:
        """Say that an earlier run's last good set is in use; it counts for ``left`` seconds."""
        _log.info(
            "issuer %s: %s from the snapshot file, good for another %s",
            self._issuer,
            counted(keys),
            _duration(left),
        )

    def good(self, keys: KeySet, previous: KeySet | None, now: float) -> None:
        """Say that fetching works (again), what a rotation changed and what was left out."""
        changed = previous is not None and keys.thumbprints != previous.thumbprints
        what = ("good", keys.dropped)
        if (what == self._said and not changed) or not self._ration.take(now):
            return
        self._said = what
        new, withdrawn = len(keys.thumbprints), 0
        if previous is not None:
            new = len(keys.thumbprints - previous.thumbprints)
            withdrawn = len(previous.thumbprints - keys.thumbprints)
        _log.log(
            logging.WARNING if keys.dropped else logging.INFO,
            "issuer %s: %s from %s: %d new, %d withdrawn%s",
            self._issuer,
            counted(keys),
            self._where,
            new,
            withdrawn,
            f"; left out: {keys.dropped}" if keys.dropped else "",
        )

    def bad(self, error: FetchError, left: float | None, now: float) -> None:
        """Say why no key set could be had, and what that means.

        ``left`` is for how many seconds the last good set still counts, None where there is none.
        """
        if left is None:
            state, level, effect = "none", logging.WARNING, "no keys yet, its tokens are not_ready"
        elif left <= 0:
            state, level = "stale", logging.ERROR
            effect = "its keys are older than max_stale, its tokens are not_ready"
        else:
            state, level = "held", logging.WARNING
            effect = f"the last good keys count for another {_duration(left)}"
        what = (state, error.cause)
        if what == self._said or not self._ration.take(now):
            return
        self._said = what
        _log.log(
            level,
            "issuer %s: no key set from %s: %s; %s; %s",
            self._issuer,
            self._where,
            error.cause,
            effect,
            error.advice,
        )


def counted(keys: KeySet) -> str:
    """Give the number of keys as text."""
    return "1 key" if len(keys.keys) == 1 else f"{len(keys.keys)} keys"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))

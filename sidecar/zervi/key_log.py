"""Log lines about an issuer's key set: one for each change, none for repeats."""

import logging
from datetime import timedelta

from sidecar.core.tokens.keys import KeySet
from sidecar.zervi.interface import FetchError
from sidecar.zervi.schedule import Ration

# For a Zervi that flaps: so many lines, then one per LINES_INTERVAL seconds. A state that was not
# logged for this reason is logged by the next fetch.
LINES_BURST = 10
LINES_INTERVAL = 60.0

_log = logging.getLogger("sidecar.zervi")


class KeyLog:
    """One issuer's log lines; ``where`` is the document's place without secrets.

    ``now`` is in seconds of a monotonic clock.
    """

    def __init__(self, issuer: str, where: str) -> None:
        self._issuer = issuer
        self._where = where
        self._ration = Ration(LINES_BURST, LINES_INTERVAL)
        self._logged = ("", "")

    def restored(self, keys: KeySet, left: float) -> None:
        """Log the use of an earlier run's set, which remains usable for ``left`` seconds."""
        _log.info(
            "issuer %s: %s from the snapshot file, usable for another %s",
            self._issuer,
            counted(keys),
            _duration(left),
        )

    def good(self, keys: KeySet, previous: KeySet | None, now: float) -> None:
        """Log a first or recovered fetch, a rotation, and keys that were ignored."""
        changed = previous is not None and keys.thumbprints != previous.thumbprints
        what = ("good", keys.dropped)
        if (what == self._logged and not changed) or not self._ration.take(now):
            return
        self._logged = what
        new, removed = len(keys.thumbprints), 0
        if previous is not None:
            new = len(keys.thumbprints - previous.thumbprints)
            removed = len(previous.thumbprints - keys.thumbprints)
        _log.log(
            logging.WARNING if keys.dropped else logging.INFO,
            "issuer %s: %s from %s: %d new, %d removed%s",
            self._issuer,
            counted(keys),
            self._where,
            new,
            removed,
            f"; ignored: {keys.dropped}" if keys.dropped else "",
        )

    def bad(self, error: FetchError, left: float | None, now: float) -> None:
        """Log a failed fetch and its effect.

        ``left`` is for how many seconds the last good set remains usable, None without a set.
        """
        if left is None:
            state, level, effect = "none", logging.WARNING, "no keys yet, its tokens get not_ready"
        elif left <= 0:
            state, level = "stale", logging.ERROR
            effect = "its keys are older than max_stale, its tokens get not_ready"
        else:
            state, level = "held", logging.WARNING
            effect = f"the last good keys are usable for another {_duration(left)}"
        what = (state, error.cause)
        if what == self._logged or not self._ration.take(now):
            return
        self._logged = what
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
    """Return the number of keys as text."""
    return "1 key" if len(keys.keys) == 1 else f"{len(keys.keys)} keys"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))

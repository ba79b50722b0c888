"""Log lines about the feed: one for each change, none for repeats."""

import logging
from typing import Final

from sidecar.zervi.interface import FetchError
from sidecar.zervi.key_log import LINES_BURST, LINES_INTERVAL
from sidecar.zervi.revocation.interface import FeedSettings
from sidecar.zervi.schedule import Ration

_UNREAD: Final = ("", "")

_log = logging.getLogger("sidecar.zervi")


class FeedLog:
    """The lines about one feed; ``where`` is its place without secrets. ``now`` never jumps."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._ration = Ration(LINES_BURST, LINES_INTERVAL)
        self._logged = _UNREAD

    def restored(self, entries: int, age: float, *, usable: bool) -> None:
        """Log the use of an earlier run's file, which is ``age`` seconds old."""
        effect = "" if usable else "; too old or from the future, so the feed is awaited"
        _log.info(
            "revocations: %s from the snapshot file, %.0f s old%s", _counted(entries), age, effect
        )

    def good(self, entries: int, now: float) -> None:
        """Log a first or recovered reading."""
        if self._logged == ("good", "") or not self._ration.take(now):
            return
        self._logged = ("good", "")
        _log.info("revocations: %s from %s", _counted(entries), self._where)

    def bad(self, error: FetchError, age: float | None, settings: FeedSettings, now: float) -> None:
        """Log a failed reading and its effect; ``age`` is that of the latest good one."""
        level = logging.WARNING
        if age is None:
            state, effect = "none", "no reading yet, so tokens get not_ready"
        elif age < settings.max_stale:
            state = "held"
            effect = f"the entries of {age:.0f} s ago count"
        elif settings.deny_stale:
            state, level = "denied", logging.ERROR
            effect = "older than max_stale, so tokens get not_ready"
        else:
            state, level = "kept", logging.ERROR
            effect = "older than max_stale; its last entries go on to count"
        if (state, error.cause) == self._logged or not self._ration.take(now):
            return
        self._logged = (state, error.cause)
        _log.log(
            level,
            "revocations: %s cannot be read: %s; %s; %s",
            self._where,
            error.cause,
            effect,
            error.advice,
        )


def _counted(entries: int) -> str:
    return "1 entry" if entries == 1 else f"{entries:,} entries"

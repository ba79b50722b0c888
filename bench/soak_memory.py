"""How old the answers are that Envoy gives from its memory, from both logs of a run."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

SETTLED_SECONDS = 5.0  # after which both logs have a decision


class Ages:
    """Compares each remembered request in Envoy's access log with the decision that it repeats.

    ``read`` is called again and again while both logs grow. ``oldest`` is the largest age in
    milliseconds; ``unknown`` counts requests without a decision that allowed them.
    """

    def __init__(self, decisions: Path, access: Path) -> None:
        self._decisions, self._access = _Tail(decisions), _Tail(access)
        self._allowed: dict[str, float] = {}
        self._waiting: list[tuple[float, str]] = []
        self.remembered = 0
        self.unknown = 0
        self.oldest = 0.0

    def read(self, *, end: bool = False) -> None:
        """Read what was added; ``end``: nothing is added any more."""
        for line in self._decisions.lines():
            if line.get("decision") == "allow":
                self._allowed[line["decision_id"]] = _seconds(line["time"])
        for line in self._access.lines():
            if line.get("remembered"):
                _, _, rest = line["remembered"].partition(" decision_id=")
                self._waiting.append((_seconds(line["time"]), rest.partition(" ")[0]))
        if not self._waiting:
            return
        latest = max(self._waiting[-1][0], max(self._allowed.values(), default=0.0))
        left = []
        for at, decision in self._waiting:
            if not end and latest - at < SETTLED_SECONDS:
                left.append((at, decision))
                continue
            self.remembered += 1
            asked = self._allowed.get(decision)
            if asked is None:
                self.unknown += 1
            else:
                self.oldest = max(self.oldest, (at - asked) * 1000)
        self._waiting = left
        kept = latest - 4 * SETTLED_SECONDS
        self._allowed = {key: time for key, time in self._allowed.items() if time > kept}


class _Tail:
    """The whole lines of a growing file."""

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, 0

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that were added since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._place)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._place += len(whole) + len(newline)
        for line in whole.splitlines():
            yield json.loads(line)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()

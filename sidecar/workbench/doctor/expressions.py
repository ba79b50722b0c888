"""Regular expressions of an Envoy configuration, tried on a few texts within bounded time.

Envoy's RE2 is linear; Python's ``re`` can take exponential time over a hostile expression. So it
runs in a process of its own, which is ended when it takes too long.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

MAX_SECONDS = 2.0  # an expression takes some 20 ms, nearly all of it the start of the process
MAX_LENGTH = 10_000  # characters; the list of header names in envoy.yaml has 900
MAX_EXPRESSIONS = 20  # in one configuration; envoy.yaml has one
UNREADABLE = 10  # as many expressions does one count that takes too long or is not Python's

_MATCH = """
import json, re, sys
expression, texts = json.load(sys.stdin)
compiled = re.compile(expression)
json.dump([text for text in texts if compiled.fullmatch(text)], sys.stdout)
"""


@dataclass
class Budget:
    """How many expressions of one configuration are still tried."""

    left: int = MAX_EXPRESSIONS


def matching(expression: str, texts: Iterable[str], budget: Budget) -> frozenset[str] | None:
    """Return which texts an expression matches as a whole; None where that cannot be told."""
    if budget.left <= 0 or len(expression) > MAX_LENGTH:
        return None
    found = _matching(expression, tuple(texts))
    budget.left -= UNREADABLE if found is None else 1
    return found


@lru_cache(maxsize=64)
def _matching(expression: str, texts: tuple[str, ...]) -> frozenset[str] | None:
    try:
        done = subprocess.run(  # noqa: S603 -- Python itself, with a program of ours
            [sys.executable, "-I", "-S", "-c", _MATCH],
            input=json.dumps([expression, texts]),
            capture_output=True,
            text=True,
            timeout=MAX_SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None  # RE2 is another language; Envoy says what it does not take
    return frozenset(json.loads(done.stdout))

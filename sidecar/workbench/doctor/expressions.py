"""Regular expressions of an Envoy configuration, tried on a few texts within bounded time.

Envoy's RE2 is linear; Python's ``re`` can take exponential time for a hostile expression. So it
runs in a separate process, which is killed after MAX_SECONDS.
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
UNREADABLE = 10  # an expression that fails or takes too long counts as this many

_MATCH = """
import json, re, sys
expression, texts = json.load(sys.stdin)
compiled = re.compile(expression)
json.dump([text for text in texts if compiled.fullmatch(text)], sys.stdout)
"""


@dataclass
class Budget:
    """The number of expressions in one configuration that may still be tried."""

    left: int = MAX_EXPRESSIONS


def matching(expression: str, texts: Iterable[str], budget: Budget) -> frozenset[str] | None:
    """Return the texts that an expression matches as a whole, None if that is unknown."""
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
        return None  # RE2's syntax differs; Envoy reports invalid expressions itself
    return frozenset(json.loads(done.stdout))

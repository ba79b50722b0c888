"""Contestants take turns, round after round; what counts is the median of the rounds."""

import os
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.load import Load
from bench.processes import cpu_seconds


class Spread(NamedTuple):
    """A figure's median over the rounds, and its range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up what the rounds measured."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Contestant:
    """One of what is compared under one load.

    ``load`` runs it for about that many seconds; ``pids`` are the processes whose CPU time counts,
    by the name of the figure.
    """

    name: str
    concurrency: int
    load: Callable[[float], Awaitable[Load]]
    pids: Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """What was measured of a contestant.

    ``cpu`` is microseconds a request by process; ``rate`` requests a second; ``p50`` and ``p99``
    microseconds.
    """

    section: str
    name: str
    concurrency: int
    cpu: Mapping[str, Spread]
    rate: Spread
    p50: Spread
    p99: Spread


class Plan(NamedTuple):
    """How much to measure: rounds, and seconds of each load."""

    rounds: int
    seconds: float


async def compare(section: str, contestants: Sequence[Contestant], plan: Plan) -> list[Row]:
    """Let the contestants take turns. Raises LoadError."""
    for each in contestants:
        await each.load(plan.seconds / 2)  # warm: connections are made, tokens are known
    loads: list[list[Load]] = [[] for _ in contestants]
    costs: list[dict[str, list[float]]] = [{name: [] for name in c.pids} for c in contestants]
    for number in range(plan.rounds):
        progress(f"{section}: round {number + 1} of {plan.rounds}")
        # Backwards every other time, so that nobody always comes after the same one.
        order = range(len(contestants))
        for index in order if number % 2 == 0 else reversed(order):
            contestant = contestants[index]
            before = {name: cpu_seconds(pid) for name, pid in contestant.pids.items()}
            load = await contestant.load(plan.seconds)
            loads[index].append(load)
            for name, pid in contestant.pids.items():
                cost = (cpu_seconds(pid) - before[name]) / load.requests
                costs[index][name].append(cost * 1e6)
    progress("")
    return [
        Row(
            section,
            contestant.name,
            contestant.concurrency,
            {name: Spread.of(values) for name, values in cost.items()},
            Spread.of([load.rate for load in rounds]),
            Spread.of([load.p50 * 1e6 for load in rounds]),
            Spread.of([load.p99 * 1e6 for load in rounds]),
        )
        for contestant, rounds, cost in zip(contestants, loads, costs, strict=True)
    ]


def progress(text: str) -> None:
    """Tell a person at a terminal what is going on."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def machine() -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": sys.version.split()[0],
        "system": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
    }

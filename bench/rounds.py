"""Contestants run in turn, in several rounds; the result is the median of the rounds."""

import os
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.load import Load
from bench.processes import cpu_seconds


class Spread(NamedTuple):
    """A figure's median over the rounds, its range, and its value in each round."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarize the values of the rounds."""
        return cls(statistics.median(values), min(values), max(values), tuple(values))

    def over(self, other: "Spread") -> float:
        """Return the median of the rounds' ratios, self ÷ other; both are of the same rounds.

        The machine's speed changes from round to round. Within a round it is nearly the same.
        """
        return statistics.median(
            own / others for own, others in zip(self.rounds, other.rounds, strict=True)
        )


@dataclass(frozen=True)
class Contestant:
    """One of the things compared under one load.

    ``load`` runs for about the given seconds; ``pids`` are the processes, by name, whose CPU time
    is measured.
    """

    name: str
    concurrency: int
    load: Callable[[float], Awaitable[Load]]
    pids: Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """A contestant's results.

    ``cpu`` is microseconds per request by process; ``rate`` is requests per second; ``p50`` and
    ``p99`` are microseconds.
    """

    section: str
    name: str
    concurrency: int
    cpu: Mapping[str, Spread]
    rate: Spread
    p50: Spread
    p99: Spread


class Plan(NamedTuple):
    """The number of rounds, and the seconds of each load."""

    rounds: int
    seconds: float

    def finer(self) -> "Plan":
        """Return a plan that can show a difference of a few percent: twice as many rounds."""
        return self._replace(rounds=2 * self.rounds)


async def compare(section: str, contestants: Sequence[Contestant], plan: Plan) -> list[Row]:
    """Run the contestants in turn. Raises LoadError."""
    for each in contestants:
        await each.load(plan.seconds / 2)  # warm up: open connections, cache tokens
    loads: list[list[Load]] = [[] for _ in contestants]
    costs: list[dict[str, list[float]]] = [{name: [] for name in c.pids} for c in contestants]
    for number in range(plan.rounds):
        progress(f"{section}: round {number + 1} of {plan.rounds}")
        # Reverse every second round, so that the predecessor varies.
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
    """Show progress on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def machine() -> dict[str, object]:
    """Return the properties of the machine that affect the figures."""
    return {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": sys.version.split()[0],
        "system": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
    }
